import { createServer } from 'node:http';
import { z } from 'zod';

// The program of `UpstreamProcess`: reads every body to its end, answers 204 with its length, and tells its parent.
const tell = (told: object): void => void process.send?.(told);
let begun = 0;
let stored = 0;
const server = createServer((request, response) => {
  let bytes = 0;
  request.once('data', () => {
    begun += 1;
    tell({ begun });
  });
  request.on('data', (piece: Buffer) => {
    bytes += piece.length;
  });
  request.on('error', () => {});
  request.on('end', () => {
    stored += 1;
    tell({ stored });
    response.writeHead(204, { 'X-Stored-Bytes': bytes }).end();
  });
});
server.requestTimeout = 0;
server.listen(0, '127.0.0.1', () =>
  tell({ port: z.object({ port: z.number() }).parse(server.address()).port }),
);
process.once('disconnect', () => process.exit());
