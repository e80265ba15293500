import { createServer } from 'node:net';
import type { Haste } from './hasty-upstream.ts';

/** The process behind HastyUpstream: tells its port to its parent, and ends with it. */
const haste: Haste = JSON.parse(process.argv[2] ?? '');
const body = haste.says;
const { toGet } = haste;
const answer = `HTTP/1.1 ${haste.status} Early\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

const server = createServer({ noDelay: true }, (socket) => {
  let head = '';
  let leftBytes = haste.readsBytes;
  socket.on('error', () => {});
  socket.on('data', (bytes: Buffer) => {
    if (!head.includes('\r\n\r\n')) {
      head += bytes.toString('latin1');
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) return;
      leftBytes -= head.length - end - 4;
    } else leftBytes -= bytes.length;
    if (toGet !== undefined && head.startsWith('GET ')) {
      const fields = `Content-Type: application/json\r\nContent-Length: ${toGet.length}\r\nConnection: close`;
      socket.end(`HTTP/1.1 200 OK\r\n${fields}\r\n\r\n${toGet}`);
      return;
    }
    if (leftBytes > 0) return;
    socket.removeAllListeners('data').pause();
    socket.write(answer, () => {
      if (haste.departure === 'resets') socket.resetAndDestroy();
      else socket.destroy();
    });
  });
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (typeof address === 'object') process.send?.(address?.port);
});
process.once('disconnect', () => process.exit());
