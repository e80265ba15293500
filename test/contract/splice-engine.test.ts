import assert from 'node:assert/strict';
import { readdirSync, readlinkSync } from 'node:fs';
import { GatewayError } from '../../src/core/errors.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import type { SpliceEngine } from '../../src/lanes/kernel/splice-engine.ts';
import { SpliceLane } from '../../src/lanes/splice.ts';
import { StreamLane } from '../../src/lanes/stream.ts';
import { eventually } from '../support/eventually.ts';
import { framings, LaneRig } from '../support/lane-rig.ts';

/** Descriptors of this process, by kind: `socket`, `pipe`, `anon_inode` (proc(5)). */
function descriptors(): Readonly<Record<string, number>> {
  const kinds: Record<string, number> = {};
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      const kind = readlinkSync(`/proc/self/fd/${fd}`).replace(/:.*/, '');
      if (['socket', 'pipe', 'anon_inode'].includes(kind)) kinds[kind] = (kinds[kind] ?? 0) + 1;
    } catch {
      // the one that lists them is closed by now
    }
  }
  return kinds;
}

/** The same numbers for the same seed (Lehmer). */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

const endings = Number(process.env.SLUICE_LEAK_ENDINGS ?? 300);
const seed = Number(process.env.SLUICE_LEAK_SEED ?? 1 + Math.floor(Math.random() * 1e9));
/** Idle pipes that the pool keeps, of two descriptors each. */
const keptDescriptors = 64;

describe('the engine of the splice lane', () => {
  let engine: SpliceEngine;
  let lane: SpliceLane;
  /** Before there was an engine. */
  let bare: ReturnType<typeof descriptors>;

  before(function () {
    if (process.platform !== 'linux') this.skip();
  });
  beforeEach(async () => {
    const { SpliceEngine } = await import('../../src/lanes/kernel/splice-engine.ts');
    bare = descriptors();
    engine = await SpliceEngine.start();
    lane = new SpliceLane(() => engine, new StreamLane());
  });
  afterEach(() => engine?.kill());

  it(`leaks nothing in ${endings} random endings (seed ${seed})`, async function () {
    this.timeout(20_000 + endings * 100);
    const random = randomOf(seed);
    let spliced = 0;
    const once = async (): Promise<void> => {
      const framing = framings[random(3)] ?? 'length';
      const bytes = 1 + random(600 * KiB);
      const stop = new AbortController();
      const passage = { signal: stop.signal, flushAfterMs: random(3), frameBytes: 64 * KiB };
      const options = { framing, bytes, passage, moved: null, hashes: false, reads: random(4) > 0 };
      const rig = await LaneRig.begin(lane, options);
      const carried = rig.carry();
      const sent = random(bytes + 1);
      for (let at = 0; at < sent; at += 50_000) void rig.send(Buffer.alloc(Math.min(50_000, sent - at)));
      const acts: (() => void)[] = [
        () => rig.client.end(),
        () => rig.client.reset(),
        () => rig.sink.end(),
        () => rig.sink.reset(),
        () => rig.sink.answer('413 Too Large'),
        () => stop.abort(new GatewayError('cancelled', 'x', { ending: 'cancelled' })),
        () => {
          if (sent < bytes) void rig.send(Buffer.alloc(bytes - sent));
          void rig.finish();
        },
        () => void rig.client.write('\r\nbroken'),
      ];
      for (let turn = random(5); turn > 0; turn -= 1) await new Promise((resolve) => setImmediate(resolve));
      acts[random(acts.length)]?.();
      rig.sink.read();
      // what has not ended by then is ended, as an operator would
      await Promise.race([carried, new Promise((resolve) => setTimeout(resolve, 20))]);
      stop.abort(new GatewayError('cancelled', 'x', { ending: 'cancelled' }));
      await carried;
      if (rig.progress.lane === 'splice') spliced += 1;
      await rig.stop();
    };
    for (let warm = 0; warm < 5; warm += 1) await once();
    const settled = (): void => {
      assert.equal(engine.running, 0);
      assert.equal(engine.heldBytes, 0);
      assert.equal(engine.stagedBlocks, 0);
    };
    await eventually(settled);
    const before = descriptors();
    for (let played = 0; played < endings; played += 1) await once();
    assert.ok(spliced > endings / 2, `${spliced} went through the kernel`);
    await eventually(() => {
      settled();
      const now = descriptors();
      assert.ok((now.socket ?? 0) <= (before.socket ?? 0), `sockets: ${JSON.stringify([before, now])}`);
      assert.equal(now.anon_inode, before.anon_inode, 'eventfds and epolls');
      assert.ok((now.pipe ?? 0) <= (before.pipe ?? 0) + keptDescriptors, 'pipes are kept up to a bound');
    });
  });

  for (const framing of framings) {
    it(`ends what is under way as internal when its thread dies, and streams from then on (${framing})`, async () => {
      const rigs: LaneRig[] = [];
      let died = 0;
      engine.onDeath(() => {
        died += 1;
      });
      const ends = [];
      for (let each = 0; each < 8; each += 1) {
        const options = { framing, bytes: MiB, passage: { flushAfterMs: 0 }, reads: each % 2 === 0 };
        const rig = await LaneRig.begin(lane, options);
        rigs.push(rig);
        ends.push(rig.carry());
        await rig.send(Buffer.alloc(100_000));
        await eventually(() => assert.equal(rig.progress.receivedBytes, 100_000));
      }
      await engine.kill();
      for (const ended of await Promise.all(ends)) {
        assert.ok(ended instanceof GatewayError, 'it ended');
        assert.equal(ended.code, 'internal');
      }
      assert.equal(engine.alive, false);
      assert.equal(died, 1);
      assert.equal(engine.running, 0);
      assert.equal(engine.heldBytes, 0);
      for (const rig of rigs) await rig.cutUpstream();
      for (const rig of rigs) await rig.stop();
      await eventually(() => {
        const now = descriptors();
        for (const kind of ['socket', 'pipe', 'anon_inode']) {
          assert.ok((now[kind] ?? 0) <= (bare[kind] ?? 0), `${kind}: ${JSON.stringify([bare, now])}`);
        }
      });
      const later = await LaneRig.begin(lane, { framing, bytes: 10, moved: 'stream' });
      const carried = later.carry();
      await later.send('0123456789');
      await later.finish();
      assert.equal(await carried, 'sent');
      await later.stop();
    });
  }
});
