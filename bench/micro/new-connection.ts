// What a new connection costs a request that is no upload: `npm run bench:connections`.
// The same small answer from an API in a process of its own on loopback, asked one after the other: with GET over the one
// connection that is kept, with DELETE over a new one each.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { readWhole } from '../../src/http/ask.ts';
import { ConnectionPool } from '../../src/http/connection-pool.ts';

const rounds = 7;
const requests = 2_000;

if (process.argv[2] === 'api') {
  const server = createServer((_, response) => response.end('{}'));
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    if (typeof address === 'object') process.send?.(address?.port);
  });
  process.once('disconnect', () => process.exit());
} else {
  const api = fork(new URL(import.meta.url), ['api']);
  const [port] = await once(api, 'message');
  const pool = new ConnectionPool(
    {
      origin: new URL(`http://127.0.0.1:${port}`),
      connectTimeoutMs: 5_000,
      responseTimeoutMs: 5_000,
      idleTimeoutMs: 60_000,
    },
    () => {},
  );
  const microseconds = async (method: string): Promise<number> => {
    const beganMs = performance.now();
    for (let i = 0; i < requests; i += 1) {
      const attempt = await pool.send(
        { method, target: '/', headers: ['Host', 'api'], body: null },
        undefined,
      );
      if ('error' in attempt) throw attempt.error;
      await readWhole(attempt.answer);
    }
    return ((performance.now() - beganMs) / requests) * 1000;
  };
  await microseconds('GET');
  await microseconds('DELETE');
  const kept: number[] = [];
  const fresh: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    kept.push(await microseconds('GET'));
    fresh.push(await microseconds('DELETE'));
  }
  const said = (all: readonly number[]): string => {
    const sorted = all.toSorted((one, other) => one - other).map(Math.round);
    return `${sorted[rounds >> 1]} µs (${sorted[0]} to ${sorted.at(-1)})`;
  };
  process.stdout.write(`kept ${said(kept)}, new ${said(fresh)}; ${rounds} rounds of ${requests}\n`);
  pool.destroy();
  api.disconnect();
}
