import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { GiB } from '../../src/core/units.ts';
import type { SpliceEngine } from '../../src/lanes/kernel/splice-engine.ts';
import { SpliceLane } from '../../src/lanes/splice.ts';
import { StreamLane } from '../../src/lanes/stream.ts';
import { eventually } from '../support/eventually.ts';
import { framings, LaneRig } from '../support/lane-rig.ts';

/** Of no count that fits into 32 bits, signed or not. */
const bytes = 5 * GiB + 1;
/** A prime: no block, frame, pipe or page is a multiple of it, so that nothing that is lost or doubled goes unseen. */
const piece = randomBytes(1_000_003);
const chunk = Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]);

describe('a body of 5 GiB and a byte through the kernel', () => {
  let engine: SpliceEngine;
  let rig: LaneRig;

  before(async function () {
    if (process.platform !== 'linux') this.skip();
    const { SpliceEngine } = await import('../../src/lanes/kernel/splice-engine.ts');
    engine = await SpliceEngine.start();
  });
  afterEach(() => rig?.stop());
  after(() => engine?.kill());

  for (const framing of framings) {
    it(`arrives to the byte (${framing})`, async function () {
      this.timeout(120_000);
      const lane = new SpliceLane(() => engine, new StreamLane());
      rig = await LaneRig.begin(lane, { framing, bytes, hashes: false, repeats: piece });
      const carried = rig.carry();
      const wire = framing === 'length' ? piece : chunk;
      const whole = Math.floor(bytes / piece.length);
      for (let sent = 0; sent < whole; sent += 1) await rig.client.write(wire);
      await rig.send(piece.subarray(0, bytes % piece.length));
      await rig.finish();
      assert.equal(await carried, 'sent');
      await eventually(() => assert.equal(rig.sink.ended, true), 'the body comes to its end');
      assert.equal(rig.sink.broken, null);
      assert.equal(rig.sink.bodyBytes, bytes);
      assert.equal(rig.progress.receivedBytes, bytes);
      assert.equal(rig.progress.sentBytes, bytes);
      await rig.asksAgain();
    });
  }
});
