import httpProxy from 'http-proxy';
import { answerError } from './answer-error.mjs';

/** As the first example of its README: no agent, so each request has a connection of its own. */
export function serve(port, upstreamPort) {
  const proxy = httpProxy.createProxyServer({ target: `http://127.0.0.1:${upstreamPort}` });
  proxy.on('error', (_error, _request, response) => answerError(response));
  proxy.listen(port, '127.0.0.1');
}
