import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { KiB } from '../../src/core/units.ts';
import type { RunningTransfer } from '../../src/lanes/kernel/splice-engine.ts';
import { Staging } from '../../src/lanes/kernel/staging.ts';
import { EngineRig } from '../support/engine-rig.ts';

const blockBytes = 64 * KiB;
const blocks = 64;

describe('the memory in which bytes are left for the thread of the kernel lane', () => {
  for (const [bytes, fits] of [
    [1, true],
    [blockBytes, true],
    [blockBytes + 1, false],
  ] as const) {
    it(`has ${fits ? 'a' : 'no'} block for ${bytes} bytes`, () => {
      const staging = new Staging();
      const block = staging.put(Buffer.alloc(bytes, 'x'));
      assert.equal(block !== null, fits);
      assert.equal(staging.takenBlocks, fits ? 1 : 0);
      if (block === null) return;
      const seen = new Staging(staging.memory).bytes(block, bytes);
      assert.equal(Buffer.from(seen).equals(Buffer.alloc(bytes, 'x')), true);
    });
  }

  it(`has ${blocks} blocks, and one that the other side frees is the next to be taken`, () => {
    const staging = new Staging();
    const others = new Staging(staging.memory);
    const taken = Array.from({ length: blocks }, (_, at) => staging.put(Buffer.of(at)));
    assert.deepEqual(taken, [...taken.keys()]);
    assert.equal(staging.put(Buffer.of(1)), null);
    for (const at of taken.keys()) assert.deepEqual([...others.bytes(at, 1)], [at]);
    others.free(7);
    assert.equal(staging.put(Buffer.of(1)), 7);
  });
});

describe('the first bytes of a body, which were read before the kernel lane took over,', () => {
  let rig: EngineRig;
  /** By the port that they came from. */
  const arrived = new Map<number, Buffer[]>();

  before(function () {
    if (process.platform !== 'linux') this.skip();
  });
  beforeEach(async () => {
    arrived.clear();
    rig = await EngineRig.start((socket) => {
      const pieces: Buffer[] = [];
      arrived.set(socket.remotePort ?? 0, pieces);
      socket.on('data', (piece) => pieces.push(piece));
    });
  });
  afterEach(() => rig?.stop());

  const begin = (source: Socket, sink: Socket, prefix: Buffer, allowedBytes: number): RunningTransfer =>
    rig.begin(source, sink, { prefix, bytes: prefix.length, allowedBytes });

  for (const bytes of [1, blockBytes, blockBytes + 1, 5 * blockBytes]) {
    it(`arrive whole where they are ${bytes}`, async () => {
      const [source, sink] = [await rig.open(), await rig.open()];
      const prefix = Buffer.alloc(bytes, 'abcdefg');
      const ended = await begin(source, sink, prefix, bytes).ended;
      assert.equal(ended?.end.how, 'sent');
      assert.equal(rig.engine.stagedBlocks, 0);
      const port = sink.localPort ?? 0;
      sink.end();
      await once(sink, 'close');
      assert.equal(Buffer.concat(arrived.get(port) ?? []).equals(prefix), true);
    });
  }

  it('arrive whole from more bodies than there are blocks, and are left there until they are in a pipe', async () => {
    const bodies = blocks + 6;
    const waiting: { transfer: RunningTransfer; sink: Socket; prefix: Buffer }[] = [];
    for (let at = 0; at < bodies; at += 1) {
      const [source, sink] = [await rig.open(), await rig.open()];
      const prefix = Buffer.alloc(1_000, `body ${at};`);
      waiting.push({ transfer: begin(source, sink, prefix, 0), sink, prefix });
    }
    assert.equal(rig.engine.stagedBlocks, blocks);
    for (const { transfer } of waiting.slice(1)) transfer.allow(1_000);
    for (const { transfer } of waiting.slice(1)) assert.equal((await transfer.ended)?.end.how, 'sent');
    assert.equal(rig.engine.stagedBlocks, 1);
    waiting[0]?.transfer.cancel();
    assert.equal((await waiting[0]?.transfer.ended)?.end.how, 'cancelled');
    assert.equal(rig.engine.stagedBlocks, 0);
    for (const { sink, prefix } of waiting.slice(1)) {
      const port = sink.localPort ?? 0;
      sink.end();
      await once(sink, 'close');
      assert.equal(Buffer.concat(arrived.get(port) ?? []).equals(prefix), true);
    }
  });
});
