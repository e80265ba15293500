// An API that takes every upload, answers a target with `large` in it with a mebibyte, and says of everything else that it
// is well. A process of its own, so that what it holds is not the gateway's. Prints its port.
import { createServer } from 'node:http';

const large = Buffer.alloc(1024 * 1024, 'x');

const server = createServer((request, response) => {
  request.on('error', () => {});
  request.resume().on('end', () => {
    if (request.method === 'PUT') response.writeHead(204).end();
    else response.end(request.url?.includes('large') ? large : '{}');
  });
});
// uploads are held for as long as it takes
server.requestTimeout = 0;
server.listen(0, '127.0.0.1', 4096, () => {
  const address = server.address();
  if (typeof address === 'object' && address !== null) console.log(address.port);
});
