import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { LeavingClient } from '../test/support/leaving-client.ts';
import type { RawClient } from '../test/support/raw-client.ts';
import { ScriptedUpstream, type UpstreamConnection } from '../test/support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../test/support/test-gateway.ts';

/**
 * How long after a client has left its upload is over and the connection upstream is gone: `npm run bench:client-gone`.
 * All in one process, over loopback.
 */
const rounds = 40;
const firstBytes = 1_000;
const declaredBytes = 64 * 1024 * 1024;

let begin: (connection: UpstreamConnection) => void = () => {};
let reads = true;
const upstream = await ScriptedUpstream.start(async (connection) => {
  await connection.received(firstBytes);
  if (!reads) connection.stopReading();
  begin(connection);
});
const sluice = await TestGateway.start(upstream.port, {
  quota: { limits: [{ per: 'project', saving: '1GiB' }], usage: { source: 'none' } },
  upload: { watch_interval: 0 },
});
const head = (): string[] => uploadHead(randomUUID(), `Content-Length: ${declaredBytes}`);

/** Resolves with the milliseconds from the leave to the end upstream. */
async function round(how: 'FIN' | 'RST' | 'RST, upstream not reading' | 'process killed'): Promise<number> {
  reads = how !== 'RST, upstream not reading';
  const begun = new Promise<UpstreamConnection>((resolve) => {
    begin = resolve;
  });
  let client: RawClient | null = null;
  let program: LeavingClient | null = null;
  if (how === 'process killed') program = new LeavingClient(sluice.port, head(), firstBytes);
  else {
    client = await sluice.client();
    await client.request(...head());
    void client.write(Buffer.alloc(reads ? firstBytes : declaredBytes));
  }
  const connection = await begun;
  // everything that can move has moved
  if (!reads) await sleep(400);
  const beganMs = performance.now();
  if (program !== null) void program.kill();
  else if (how === 'FIN') client?.end();
  else client?.reset();
  if (reads) await connection.closed;
  else while (sluice.gateway.uploadsUnderWay > 0) await new Promise(setImmediate);
  const ms = performance.now() - beganMs;
  connection.destroy();
  client?.destroy();
  return ms;
}

for (const how of ['FIN', 'RST', 'RST, upstream not reading', 'process killed'] as const) {
  const all: number[] = [];
  for (let i = 0; i < rounds; i += 1) all.push(await round(how));
  all.sort((one, other) => one - other);
  const [median = 0, most = 0] = [all[rounds / 2], all.at(-1)];
  console.log(`${how.padEnd(26)} median ${median.toFixed(1)} ms, longest ${most.toFixed(1)} ms of ${rounds}`);
}
await sluice.stop();
await upstream.stop();
