import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { EndGate } from '../../src/core/end-gate.ts';
import { GatewayError } from '../../src/core/errors.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import type { Carried, Passage } from '../../src/lanes/lane.ts';
import { Carriage } from '../support/carriage.ts';
import { eventually } from '../support/eventually.ts';

const finalFrame = '0\r\n\r\n'.length;

/** How bodies are framed: by the client, and towards the upstream. */
const framings = ['by length', 'by length that the client sends in chunks', 'in frames'] as const;
type Framing = (typeof framings)[number];

/** A limit that a held body is past long before its test ends. */
const shortMs = 150;

describe('a body whose end is held', () => {
  let gate: EndGate;
  let carriage: Carriage;
  let carried: Promise<Carried | GatewayError>;

  beforeEach(() => {
    gate = new EndGate();
    assert.equal(gate.hold(), true);
  });
  afterEach(() => carriage.end());

  const begin = async (framing: Framing, bytes: number, changes: Partial<Passage> = {}): Promise<void> => {
    carriage = await Carriage.begin(framing === 'by length' ? bytes : null, {
      end: gate,
      frameBytes: 64 * KiB,
      ...(framing === 'in frames' ? {} : { declaredBytes: bytes }),
      ...changes,
    });
    carriage.upstream.open();
    carried = carriage.carry();
  };

  const send = (framing: Framing, bytes: number): Promise<void> => {
    const { client } = carriage;
    return framing === 'by length' ? client.write(Buffer.alloc(bytes)) : client.chunk(Buffer.alloc(bytes));
  };

  /** Sends a whole body, and waits until the lane has all of it. */
  const sendAll = async (framing: Framing, bytes: number): Promise<void> => {
    const ended = once(carriage.request, 'end');
    await send(framing, bytes);
    if (framing !== 'by length') await carriage.client.chunk('');
    await ended;
  };

  /** What the upstream has of a body whose end it has not, without the head of each frame. */
  const allButEnd = (framing: Framing, bytes: number): number => {
    if (framing !== 'in frames') return bytes - 1;
    const frames = Array.from({ length: Math.ceil(bytes / (64 * KiB)) }, (_, index) =>
      Math.min(64 * KiB, bytes - index * 64 * KiB),
    );
    return frames.reduce((sum, frame) => sum + `${frame.toString(16)}\r\n\r\n`.length + frame, 0);
  };
  const endBytes = (framing: Framing): number => (framing === 'in frames' ? finalFrame : 1);

  const held = async (framing: Framing, bytes: number): Promise<void> => {
    await eventually(() => assert.equal(carriage.upstream.takenBytes, allButEnd(framing, bytes)));
    // many turns of the event loop, in each of which it might send on
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(carriage.upstream.takenBytes, allButEnd(framing, bytes));
  };

  for (const framing of framings) {
    for (const bytes of [1, 64 * KiB, 64 * KiB + 1, MiB]) {
      it(`is sent but for its end, and whole when it is let go (${bytes} bytes ${framing})`, async () => {
        await begin(framing, bytes);
        await sendAll(framing, bytes);
        await held(framing, bytes);
        assert.equal(carriage.passage.progress.endSent, false);
        gate.release();
        assert.equal(await carried, 'sent');
        assert.equal(carriage.upstream.takenBytes, allButEnd(framing, bytes) + endBytes(framing));
        assert.equal(carriage.passage.progress.sentBytes, bytes);
        assert.equal(carriage.passage.progress.endSent, true);
        assert.equal(gate.hold(), false, 'its end is claimed');
      });
    }

    it(`is whole though it was let go before it came to its end (${framing})`, async () => {
      await begin(framing, 100);
      gate.release();
      await sendAll(framing, 100);
      assert.equal(await carried, 'sent');
      assert.equal(carriage.passage.progress.endSent, true);
    });

    it(`waits for the last of those that hold it (${framing})`, async () => {
      assert.equal(gate.hold(), true);
      await begin(framing, 100);
      await sendAll(framing, 100);
      await held(framing, 100);
      gate.release();
      await held(framing, 100);
      gate.release();
      assert.equal(await carried, 'sent');
    });

    it(`is ended by its signal, was never whole, and asks nothing of the gate afterwards (${framing})`, async () => {
      const stop = new AbortController();
      await begin(framing, 100, { signal: stop.signal });
      await sendAll(framing, 100);
      await held(framing, 100);
      stop.abort(new GatewayError('image-deleted', 'x', { ending: 'image-deleted' }));
      const error = await carried;
      assert.ok(error instanceof GatewayError, 'it ended');
      assert.equal(error.code, 'image-deleted');
      assert.equal(carriage.passage.progress.endSent, false);
      assert.equal(gate.onFree, null);
      gate.release();
      await held(framing, 100);
    });

    it(`is left when the upstream answers first (${framing})`, async () => {
      let answer = (): void => {};
      const interrupted = new Promise<void>((resolve) => {
        answer = resolve;
      });
      await begin(framing, 100, { interrupted });
      await sendAll(framing, 100);
      await held(framing, 100);
      answer();
      assert.equal(await carried, 'interrupted');
      assert.equal(carriage.passage.progress.endSent, false);
      assert.equal(gate.onFree, null);
    });

    it(`is not lost with a client that has sent all of it and leaves (${framing})`, async () => {
      await begin(framing, 100);
      await sendAll(framing, 100);
      const closed = new Promise((resolve) => carriage.request.socket.once('close', resolve));
      carriage.client.reset();
      await closed;
      await held(framing, 100);
      gate.release();
      assert.equal(await carried, 'sent');
    });

    it(`ends as client-gone with a client that leaves before its end (${framing})`, async () => {
      await begin(framing, 100, { flushAfterMs: 0 });
      await send(framing, 99);
      await eventually(() => assert.equal(carriage.passage.progress.receivedBytes, 99));
      carriage.client.reset();
      const error = await carried;
      assert.ok(error instanceof GatewayError, 'it ended');
      assert.equal(error.code, 'client-gone');
      assert.equal(gate.onFree, null);
    });

    it(`is nobody's fault, however long it is held (${framing})`, async () => {
      await begin(framing, 100, {
        clientSocketTimeoutMs: shortMs,
        leastRate: { bytes: 1, perMs: shortMs, graceMs: 0 },
        chunkTimeoutMs: shortMs,
        timeLimit: { baseMs: 4 * shortMs, perGibMs: 0 },
      });
      await sendAll(framing, 100);
      await sleep(6 * shortMs);
      await held(framing, 100);
      gate.release();
      assert.equal(await carried, 'sent');
    });

    it(`is in the time of its body again once it is let go (${framing})`, async () => {
      await begin(framing, 100, { timeLimit: { baseMs: 4 * shortMs, perGibMs: 0 } });
      await sendAll(framing, 100);
      await held(framing, 100);
      carriage.upstream.close();
      gate.release();
      const error = await carried;
      assert.ok(error instanceof GatewayError, 'it ended');
      assert.match(error.message, /^The body took longer than 0\.6 s/);
    });

    it(`is the upstream's fault again once it is let go (${framing})`, async () => {
      await begin(framing, 100, { chunkTimeoutMs: shortMs });
      await sendAll(framing, 100);
      await held(framing, 100);
      carriage.upstream.close();
      gate.release();
      const error = await carried;
      assert.ok(error instanceof GatewayError, 'it ended');
      assert.equal(error.code, 'upstream-stalled');
    });
  }

  it('claims nothing before it comes to its end: whoever holds it last is heard', async () => {
    gate.release();
    await begin('by length', MiB);
    await carriage.client.write(Buffer.alloc(MiB - 1));
    await eventually(() => assert.equal(carriage.upstream.takenBytes, MiB - 1));
    assert.equal(gate.hold(), true);
    await carriage.client.write('x');
    await held('by length', MiB);
    gate.release();
    assert.equal(await carried, 'sent');
  });

  it('claims nothing while the upstream does not take what comes before its end', async () => {
    gate.release();
    await begin('by length', 200 * KiB);
    carriage.upstream.close();
    await sendAll('by length', 200 * KiB);
    // takes the first block; the second waits, and the rest behind it
    carriage.upstream.open();
    carriage.upstream.close();
    await eventually(() =>
      assert.ok(carriage.passage.progress.sentBytes > 64 * KiB, 'the second is written'),
    );
    assert.equal(gate.hold(), true);
    carriage.upstream.open();
    await held('by length', 200 * KiB);
    gate.release();
    assert.equal(await carried, 'sent');
  });

  it('is sent with its last byte in one write where nobody holds it', async () => {
    gate.release();
    await begin('by length', 100);
    await carriage.client.write(Buffer.alloc(100));
    assert.equal(await carried, 'sent');
    assert.equal(carriage.upstream.writes, 1);
  });
});
