import assert from 'node:assert/strict';
import type { RunningTransfer } from '../../src/lanes/kernel/splice-engine.ts';
import { EngineRig } from '../support/engine-rig.ts';

// each transfer has a slot of the memory that both threads share, and the next one may get the same
describe('the slot of a transfer that is over', () => {
  let rig: EngineRig;

  before(function () {
    if (process.platform !== 'linux') this.skip();
  });
  beforeEach(async () => {
    rig = await EngineRig.start();
  });
  afterEach(() => rig?.stop());

  /** Sends its prefix, and waits for more bytes than that. */
  async function begin(prefix: string): Promise<() => RunningTransfer> {
    const [source, sink] = [await rig.open(), await rig.open()];
    return () => rig.begin(source, sink, { prefix: Buffer.from(prefix), bytes: 1_000, allowedBytes: 10 });
  }

  it('is not written to by a late leave for more bytes', async () => {
    const [one, other] = [await begin('first'), await begin('second')];
    const over = one();
    over.cancel();
    await over.ended;
    await new Promise((resolve) => setImmediate(resolve));
    const next = other();
    over.allow(1_000_000);
    assert.equal(next.record.allowedBytes, 10);
    next.cancel();
    await next.ended;
  });

  it('keeps its counts until whoever waited for its end has read them', async () => {
    const [one, other] = [await begin('first'), await begin('second')];
    const over = one();
    // in line before the one that waits below, as another upload whose turn comes in the same tick
    const next = over.ended.then(other);
    over.cancel();
    await over.ended;
    assert.equal(over.record.receivedBytes, 'first'.length);
    (await next).cancel();
    await (await next).ended;
  });
});
