import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { GatewayError } from '../../src/core/errors.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import { Carriage } from '../support/carriage.ts';
import { eventually } from '../support/eventually.ts';

/** The last bytes of a body: far too few for Node to say that the socket is full. */
const tail = 'the end';

describe('a body whose last bytes the upstream does not take', () => {
  let carriage: Carriage;

  afterEach(() => carriage.end());

  for (const framing of ['Content-Length', 'chunked'] as const) {
    for (const leaves of [false, true]) {
      it(`is given up after chunk_timeout (${framing}${leaves ? ', the client has left since' : ''})`, async () => {
        const declaredBytes = framing === 'chunked' ? null : tail.length;
        carriage = await Carriage.begin(declaredBytes, { flushAfterMs: 1_000, chunkTimeoutMs: 100 });
        const { client, request } = carriage;
        const carried = carriage.carry();
        const ended = leaves ? once(request, 'end') : null;
        await carriage.send(tail);
        if (framing === 'chunked') await client.chunk('');
        await ended;
        if (leaves) client.reset();
        const error = await carried;
        assert.ok(error instanceof GatewayError, 'it ended');
        assert.equal(error.code, 'upstream-stalled');
      });
    }
  }
});

describe('a frame is sent whole', () => {
  /** A client that is silent for a twentieth of it fills no frame. */
  const flushAfterMs = 10_000;
  const silenceMs = flushAfterMs / 20;
  /** On the wire: what frames of these sizes add to their bytes, and the last one. */
  const framed = (...frames: number[]): number =>
    frames.reduce((sum, bytes) => sum + bytes + bytes.toString(16).length + 4, 5);
  let carriage: Carriage;

  afterEach(() => carriage.end());

  const finish = async (carried: Promise<unknown>): Promise<void> => {
    await carriage.client.chunk('');
    assert.equal(await carried, 'sent');
  };

  it('of a client that was held back for long while the quota was asked', async () => {
    let grant = (): void => {};
    const granted = new Promise<void>((resolve) => {
      grant = resolve;
    });
    carriage = await Carriage.begin(null, {
      flushAfterMs,
      allowedBytes: MiB,
      allowMore: async () => {
        await granted;
        return 2 * MiB;
      },
    });
    carriage.upstream.open();
    const carried = carriage.carry();
    await carriage.send(Buffer.alloc(MiB + 10 * KiB));
    await eventually(() => carriage.request.isPaused(), 'the client is held back');
    await sleep(2.5 * silenceMs);
    grant();
    // it hears of that no sooner than its way is long
    await sleep(0.75 * silenceMs);
    await carriage.send(Buffer.alloc(MiB - 10 * KiB));
    await finish(carried);
    assert.equal(carriage.upstream.takenBytes, framed(MiB, MiB));
  });

  it('of a client whose bytes were not read because this thread was busy', async () => {
    carriage = await Carriage.begin(null, { flushAfterMs });
    carriage.upstream.open();
    const carried = carriage.carry();
    await carriage.send('part');
    await eventually(() => carriage.passage.progress.receivedBytes === 4, 'a part of the frame is here');
    // on its way when the thread stops
    const sent = carriage.send(Buffer.alloc(10 * KiB));
    const untilMs = performance.now() + 1.5 * silenceMs;
    while (performance.now() < untilMs);
    await sent;
    await eventually(() => carriage.passage.progress.receivedBytes > 4, 'the rest is here');
    await finish(carried);
    assert.equal(carriage.upstream.takenBytes, framed(4 + 10 * KiB));
  });
});
