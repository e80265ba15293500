import { createServer } from 'node:http';
import fastProxy from 'fast-proxy';

export function serve(port, upstreamPort) {
  const { proxy } = fastProxy({ base: `http://127.0.0.1:${upstreamPort}` });
  createServer((request, response) => proxy(request, response, request.url, {})).listen(
    port,
    '127.0.0.1',
    4096,
  );
}
