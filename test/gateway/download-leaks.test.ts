import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { KiB } from '../../src/core/units.ts';
import type { SpliceEngine } from '../../src/lanes/kernel/splice-engine.ts';
import { descriptors } from '../support/descriptors.ts';
import { eventually } from '../support/eventually.ts';
import { LogLines } from '../support/log-lines.ts';
import { randomOf } from '../support/random.ts';
import { RawClient } from '../support/raw-client.ts';
import { ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway } from '../support/test-gateway.ts';

const downloads = Number(process.env.SLUICE_LEAK_ENDINGS ?? 300);
const seed = Number(process.env.SLUICE_LEAK_SEED ?? 1 + Math.floor(Math.random() * 1e9));
/** Idle pipes that the pool keeps, of two descriptors each. */
const keptDescriptors = 64;

describe('a gateway with the splice lane', () => {
  let engine: SpliceEngine;
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;

  before(function () {
    if (process.platform !== 'linux') this.skip();
  });
  beforeEach(async () => {
    const { SpliceEngine } = await import('../../src/lanes/kernel/splice-engine.ts');
    engine = await SpliceEngine.start();
    upstream = await ScriptedUpstream.start(() => {});
    const changes = {
      quota: { mode: 'off', usage: { source: 'none' } },
      upload: { lane: 'auto', splice_from: 0 },
    } as const;
    sluice = await TestGateway.start(upstream.port, changes, new LogLines(), async () => engine);
  });
  afterEach(async () => {
    await sluice?.stop();
    await upstream?.stop();
    await engine?.kill();
  });

  it(`leaks nothing in ${downloads} random downloads (seed ${seed})`, async function () {
    this.timeout(20_000 + downloads * 100);
    const random = randomOf(seed);
    let spliced = 0;
    const once = async (): Promise<void> => {
      const bytes = 1 + random(600 * KiB);
      const sent = random(3) === 0 ? random(bytes) : bytes;
      let answered: UpstreamConnection | null = null;
      upstream.script = (connection) => {
        answered = connection;
        connection.write(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes}\r\n\r\n`);
        setImmediate(() => connection.write(Buffer.alloc(sent)));
      };
      const client = await RawClient.connect(sluice.port);
      const response = client.response().catch(() => null);
      if (random(3) === 0) client.pauseReading();
      await client.request(`GET /v2/images/${randomUUID()}/file HTTP/1.1`, 'Host: images');
      await eventually(() => answered !== null);
      for (let turn = random(20); turn > 0; turn -= 1) await new Promise((resolve) => setImmediate(resolve));
      if (engine.running > 0) spliced += 1;
      const acts: (() => unknown)[] = [
        () => client.end(),
        () => client.reset(),
        () => client.destroy(),
        () => answered?.end(),
        () => answered?.reset(),
        () => answered?.destroy(),
        () => answered?.write(Buffer.alloc(bytes - sent)),
      ];
      acts[random(acts.length)]?.();
      client.resumeReading();
      // what has not ended by then has nobody who ends it
      await Promise.race([response, new Promise((resolve) => setTimeout(resolve, 20))]);
      client.destroy();
      // a client that is gone may have closed its side only, and is waited for
      for (const connection of upstream.connections.splice(0)) connection.destroy();
    };
    for (let warm = 0; warm < 5; warm += 1) await once();
    const settled = (): void => {
      assert.equal(engine.running, 0);
      assert.equal(engine.heldBytes, 0);
    };
    await eventually(settled);
    const before = descriptors();
    for (let played = 0; played < downloads; played += 1) await once();
    assert.ok(spliced > downloads / 4, `${spliced} were seen in the kernel`);
    await eventually(() => {
      settled();
      const now = descriptors();
      assert.ok((now.socket ?? 0) <= (before.socket ?? 0) + 4, `sockets: ${JSON.stringify([before, now])}`);
      assert.equal(now.anon_inode, before.anon_inode, 'eventfds and epolls');
      assert.ok((now.pipe ?? 0) <= (before.pipe ?? 0) + keptDescriptors, 'pipes are kept up to a bound');
    });
  });
});
