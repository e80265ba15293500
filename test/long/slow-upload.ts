import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { defaultConfig } from '../../src/config/load.ts';
import { startImageApi } from '../../src/demo/image-api.ts';
import { Gateway } from '../../src/gateway.ts';
import { openLog } from '../../src/log.ts';

/**
 * The upload that lives: `npm run test:slow-upload`. 20 minutes at 100 KB/s through a gateway with default settings, in both
 * framings side by side, before the embedded image API. Nothing may end it: no timeout of ours, none of Node's.
 * SLUICE_SLOW_SECONDS = how long (1,200 where it is not set); SLUICE_SLOW_RATE = bytes in a second (100,000).
 * Exit code 1 where an upload is not stored, or not as it was sent.
 */
const whole = z.coerce.number().int().min(1);
const seconds = whole.default(1_200).parse(process.env.SLUICE_SLOW_SECONDS);
const bytesPerSecond = whole.default(100_000).parse(process.env.SLUICE_SLOW_RATE);
const stepMs = 100;
const piece = Buffer.alloc(Math.ceil((bytesPerSecond * stepMs) / 1_000), 'x');
const pieces = (seconds * 1_000) / stepMs;
const totalBytes = pieces * piece.length;
const who = { 'X-User-Id': 'ann', 'X-Project-Id': 'blue' };

const api = await startImageApi({ port: 0 });
const config = defaultConfig({
  listen: [{ address: '127.0.0.1:0' }],
  admin: { address: '127.0.0.1:0' },
  upstream: { servers: [api.url] },
});
const gateway = new Gateway(config, openLog('info').log, 'test');
await gateway.start();
const port = z.object({ port: z.number() }).parse(gateway.addresses?.listen[0]).port;
const url = `http://127.0.0.1:${port}`;

const record = z.object({
  id: z.string(),
  status: z.string(),
  size: z.number().nullish(),
  checksum: z.string().nullish(),
});

async function upload(chunked: boolean): Promise<boolean> {
  const name = chunked ? 'unknown length' : 'known length';
  const created = await fetch(`${url}/v2/images`, {
    method: 'POST',
    headers: { ...who, 'Content-Type': 'application/json' },
    body: JSON.stringify({ disk_format: 'raw', container_format: 'bare' }),
  });
  const { id } = record.parse(await created.json());
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  let answer = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    answer += text;
  });
  socket.on('error', (error) => console.log(`${name}: ${error.message}`));
  const answered = Promise.race([once(socket, 'data'), once(socket, 'close')]).catch(() => {});
  const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${totalBytes}`;
  const head = [
    `PUT /v2/images/${id}/file HTTP/1.1`,
    'Host: images',
    ...Object.entries(who).map((field) => field.join(': ')),
    'Content-Type: application/octet-stream',
    framing,
  ];
  socket.write(`${head.join('\r\n')}\r\n\r\n`);
  const hash = createHash('md5');
  const beganMs = performance.now();
  for (let i = 0; i < pieces && answer === '' && !socket.destroyed; i += 1) {
    // by the clock, so that a late step does not make all the later ones late
    await sleep(Math.max(0, beganMs + i * stepMs - performance.now()));
    if (chunked) socket.write(`${piece.length.toString(16)}\r\n`);
    socket.write(piece);
    if (chunked) socket.write('\r\n');
    hash.update(piece);
  }
  if (chunked) socket.write('0\r\n\r\n');
  await answered;
  const tookSeconds = (performance.now() - beganMs) / 1_000;
  socket.destroy();
  const image = record.parse(await (await fetch(`${url}/v2/images/${id}`, { headers: who })).json());
  const stored =
    answer.startsWith('HTTP/1.1 204 ') && image.size === totalBytes && image.checksum === hash.digest('hex');
  console.log(
    `${name}: ${answer.split('\r\n')[0]} after ${tookSeconds.toFixed(1)} s; image ${image.status}, ` +
      `${image.size} of ${totalBytes} bytes, checksum ${stored ? 'right' : 'or answer wrong'}`,
  );
  return stored;
}

console.log(
  `${seconds} s at ${piece.length * (1_000 / stepMs)} bytes/s, default settings, Node ${process.version}`,
);
const outcomes = await Promise.all([upload(false), upload(true)]);
await gateway.stopNow();
await api.stop();
process.exit(outcomes.every((stored) => stored) ? 0 : 1);
