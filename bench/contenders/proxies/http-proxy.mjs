import { Agent } from 'node:http';
import httpProxy from 'http-proxy';
import { answerError } from './answer-error.mjs';

export function serve(port, upstreamPort) {
  const proxy = httpProxy.createProxyServer({
    target: `http://127.0.0.1:${upstreamPort}`,
    agent: new Agent({ keepAlive: true }),
  });
  proxy.on('error', (_error, _request, response) => answerError(response));
  proxy.listen(port, '127.0.0.1');
}
