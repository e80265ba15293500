import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { EndGate } from '../../src/core/end-gate.ts';
import { GatewayError } from '../../src/core/errors.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import type { SpliceEngine } from '../../src/lanes/kernel/splice-engine.ts';
import { SpliceLane } from '../../src/lanes/splice.ts';
import { StreamLane } from '../../src/lanes/stream.ts';
import { descriptors } from '../support/descriptors.ts';
import { eventually } from '../support/eventually.ts';
import { framings, LaneRig } from '../support/lane-rig.ts';
import { randomOf } from '../support/random.ts';

const endings = Number(process.env.SLUICE_LEAK_ENDINGS ?? 300);
const seed = Number(process.env.SLUICE_LEAK_SEED ?? 1 + Math.floor(Math.random() * 1e9));
/** Each with eight bodies under way. */
const deaths = Math.ceil(endings / 100);
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

  it(`leaks nothing in ${deaths} deaths of its thread (seed ${seed})`, async function () {
    this.timeout(20_000 + deaths * 5_000);
    const random = randomOf(seed);
    const { SpliceEngine } = await import('../../src/lanes/kernel/splice-engine.ts');
    await engine.kill();
    for (let death = 0; death < deaths; death += 1) {
      engine = await SpliceEngine.start();
      const rigs: LaneRig[] = [];
      const ends: Promise<unknown>[] = [];
      for (let each = 0; each < 8; each += 1) {
        const framing = framings[random(3)] ?? 'length';
        const passage = { flushAfterMs: random(3) };
        const options = { framing, bytes: MiB, passage, moved: null, hashes: false, reads: random(2) === 0 };
        const rig = await LaneRig.begin(lane, options);
        rigs.push(rig);
        ends.push(rig.carry());
        void rig.send(Buffer.alloc(random(MiB)));
        for (let turn = random(5); turn > 0; turn -= 1) await new Promise((resolve) => setImmediate(resolve));
      }
      await engine.kill();
      await Promise.all(ends);
      for (const rig of rigs) await rig.stop();
    }
    await eventually(() => {
      const now = descriptors();
      for (const kind of ['socket', 'pipe', 'anon_inode'])
        assert.ok((now[kind] ?? 0) <= (bare[kind] ?? 0), `${kind}: ${JSON.stringify([bare, now])}`);
    });
  });

  // by length what is still to come tells that a FIN came too early; where it does not only a reset tells
  for (const [framing, how] of [
    ['length', 'FIN'],
    ['length', 'RST'],
    ['chunked', 'RST'],
    ['declared', 'RST'],
  ] as const) {
    it(`sees a client leave by ${how} while the upstream reads nothing (${framing})`, async () => {
      const options = { framing, bytes: 48 * MiB, reads: false, hashes: false } as const;
      const rig = await LaneRig.begin(lane, options);
      const carried = rig.carry();
      let before = -1;
      await eventually(async () => {
        for (let sent = 0; sent < 16; sent += 1) void rig.send(Buffer.alloc(64 * KiB));
        const { receivedBytes, sentBytes } = rig.progress;
        const isStuck = receivedBytes === before && receivedBytes > sentBytes;
        before = receivedBytes;
        return isStuck;
      });
      if (how === 'FIN') rig.client.end();
      else rig.client.reset();
      const ended = await carried;
      assert.ok(ended instanceof GatewayError, 'it ended');
      assert.equal(ended.code, 'client-gone');
      // the thread has read the reset: nobody else hears of it
      if (how === 'RST') assert.equal(rig.request.socket.destroyed, true);
      await rig.stop();
    });
  }

  it('gives a client its whole time when it is read from again, though nothing of it was on its way', async () => {
    const passage = { clientSocketTimeoutMs: 900 };
    const bytes = 48 * MiB;
    const rig = await LaneRig.begin(lane, { framing: 'length', bytes, passage, reads: false, hashes: false });
    const carried = rig.carry();
    const piece = Buffer.alloc(64 * KiB);
    let sentBytes = 0;
    // all that was sent is here, and the API takes no more of it
    while (rig.progress.sentBytes === sentBytes) {
      await rig.send(piece);
      sentBytes += piece.length;
      await eventually(() => assert.equal(rig.progress.receivedBytes, sentBytes));
      await sleep(2);
    }
    await sleep(1_200);
    rig.sink.read();
    await eventually(() => assert.equal(rig.sink.bodyBytes, sentBytes));
    await sleep(500);
    for (; sentBytes < bytes; sentBytes += piece.length) void rig.send(piece);
    assert.equal(await carried, 'sent');
    await rig.stop();
  });

  for (const claimed of [true, false]) {
    it(`its death leaves it ${claimed ? 'unknown' : 'certain'} whether a body is whole whose end was ${claimed ? '' : 'not '}claimed`, async () => {
      const end = new EndGate();
      const rig = await LaneRig.begin(lane, { framing: 'length', bytes: 10, passage: { end } });
      const carried = rig.carry();
      await rig.send('012345678');
      await eventually(() => assert.equal(rig.progress.sentBytes, 9));
      // as the thread does right before it sends the last byte
      if (claimed) end.claim();
      await engine.kill();
      assert.ok((await carried) instanceof GatewayError, 'it ended');
      assert.equal(rig.progress.endSent, claimed);
      await rig.stop();
    });
  }
});
