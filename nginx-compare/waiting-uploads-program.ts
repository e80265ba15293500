// Uploads that have begun and do not come on, over as many connections. Argument: the port. For each number on its
// input it opens more of them until there are so many, and prints the number when every one has sent what it sends at once.
// From then on half of them send a little every ten seconds, the others nothing. An upload that is answered or cut ends
// this process: none has a reason to.
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { callerFields } from '../bench/measure/caller.ts';
import { KiB } from '../src/core/units.ts';
import { sentAtOnceBytes, slowBytes, slowEveryMs, waitingBytes } from './waiting-uploads.ts';

const port = Number(process.argv[2]);
/** Opened side by side, so that the listener's queue is never full. */
const together = 50;
const tickMs = 100;

const first = Buffer.alloc(sentAtOnceBytes, 'x');
const little = Buffer.alloc(slowBytes, 'x');
const waiting: Socket[] = [];

async function begin(): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port });
  await once(socket, 'connect');
  const end = (why: string): never => {
    process.stderr.write(`an upload that should wait has ended: ${why}\n`);
    process.exit(1);
  };
  socket.on('data', (data) => end(data.toString('latin1', 0, KiB)));
  socket.on('error', (error) => end(error.message));
  socket.on('close', () => end('closed'));
  const head = [
    `PUT /v2/images/${randomUUID()}/file HTTP/1.1`,
    'Host: images',
    ...callerFields,
    'Content-Type: application/octet-stream',
    `Content-Length: ${waitingBytes}`,
  ];
  socket.write(`${head.join('\r\n')}\r\n\r\n`);
  await new Promise((resolve) => socket.write(first, resolve));
  waiting.push(socket);
}

let next = 0;
let owed = 0;
setInterval(() => {
  owed += ((waiting.length / 2) * tickMs) / slowEveryMs;
  for (; owed >= 1; owed -= 1) {
    next += 2;
    if (next >= waiting.length) next = 0;
    waiting[next]?.write(little);
  }
}, tickMs);

for await (const line of createInterface(process.stdin)) {
  const wanted = Number(line);
  while (waiting.length < wanted) {
    await Promise.all(Array.from({ length: Math.min(together, wanted - waiting.length) }, begin));
  }
  console.log(wanted);
}
process.exit(0);
