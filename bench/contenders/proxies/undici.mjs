// undici is a client: this is the least that makes a proxy of it, as its own benchmarks do, with `stream`.
import { createServer } from 'node:http';
import { Pool } from 'undici';
import { answerError } from './answer-error.mjs';

/** undici frames bodies and keeps connections itself, and refuses to be told. */
const hopByHop = new Set(['connection', 'keep-alive', 'transfer-encoding', 'expect', 'upgrade']);

export function serve(port, upstreamPort) {
  const pool = new Pool(`http://127.0.0.1:${upstreamPort}`, { pipelining: 1 });
  createServer((request, response) => {
    const headers = [];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      if (!hopByHop.has(request.rawHeaders[i].toLowerCase()))
        headers.push(...request.rawHeaders.slice(i, i + 2));
    }
    const { method, url } = request;
    const hasBody = 'content-length' in request.headers || 'transfer-encoding' in request.headers;
    const options = { method, path: url, headers, body: hasBody ? request : null };
    pool
      .stream(options, (answer) => {
        const fields = { ...answer.headers };
        for (const name of hopByHop) delete fields[name];
        return response.writeHead(answer.statusCode, fields);
      })
      .catch(() => answerError(response));
  }).listen(port, '127.0.0.1', 4096);
}
