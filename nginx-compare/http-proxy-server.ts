// The proxy that most Node programs use, with nothing added. Arguments: port; port of the API; `kept` or `closed`: whether
// connections to the API are kept.
import { Agent, ServerResponse } from 'node:http';
import httpProxy from 'http-proxy';

const [port, originPort, connections] = process.argv.slice(2);
const proxy = httpProxy.createProxyServer({
  target: `http://127.0.0.1:${originPort}`,
  ...(connections === 'kept' && { agent: new Agent({ keepAlive: true, maxSockets: Infinity }) }),
});
proxy.on('error', (_error, _request, response) => {
  if (response instanceof ServerResponse && !response.headersSent) response.writeHead(502);
  response.end();
});
proxy.listen(Number(port), '127.0.0.1');
