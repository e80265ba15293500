import { Agent, createServer } from 'node:http';
import { createProxyServer } from 'http-proxy-3';
import { answerError } from './answer-error.mjs';

export function serve(port, upstreamPort) {
  const proxy = createProxyServer({
    target: `http://127.0.0.1:${upstreamPort}`,
    agent: new Agent({ keepAlive: true }),
  });
  proxy.on('error', (_error, _request, response) => answerError(response));
  createServer((request, response) => proxy.web(request, response)).listen(port, '127.0.0.1', 4096);
}
