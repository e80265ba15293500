import assert from 'node:assert/strict';
import { mock } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { GatewayError } from '../../src/core/errors.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import type { Carried, Passage } from '../../src/lanes/lane.ts';
import { Carriage } from '../support/carriage.ts';
import { eventually } from '../support/eventually.ts';

/** The deadline that is met, and one that is not: no test takes as long. */
const shortMs = 150;
const longMs = 60_000;

const strictRate = { bytes: 1, perMs: 2 * shortMs, graceMs: 0 };
/** A client who is blamed as soon as it is waited for: never, where others keep the body. */
const strictClient = { clientSocketTimeoutMs: 2 * shortMs, leastRate: strictRate };

interface Row {
  readonly promise: string;
  readonly passage: Partial<Passage>;
  readonly play: (carriage: Carriage) => Promise<void>;
  readonly outcome: Carried | 'client-stalled' | 'client-too-slow' | 'upstream-stalled';
}

const bytes = 4 * MiB;
const half = Buffer.alloc(bytes / 2, 'x');

/** Few enough that the client is not held back. */
const last = Buffer.alloc(64 * KiB);
const others = Buffer.alloc(bytes - last.length);

/** As much as a client can send while nobody takes it: the rest stays with it. */
const push = async (carriage: Carriage): Promise<void> => {
  void carriage.send(half);
  await eventually(() => carriage.request.isPaused(), 'the client is held back');
};

const finish = async (carriage: Carriage): Promise<void> => {
  carriage.upstream.open();
  await carriage.send(half);
  if (carriage.passage.declaredBytes === null) await carriage.send('');
};

const rows: readonly Row[] = [
  {
    promise: 'the client sends nothing while the upstream takes everything',
    passage: { clientSocketTimeoutMs: shortMs, chunkTimeoutMs: shortMs / 2 },
    play: async (carriage) => {
      carriage.upstream.open();
      await carriage.send(half);
    },
    outcome: 'client-stalled',
  },
  {
    promise: 'the client sends nothing at all',
    passage: { clientSocketTimeoutMs: shortMs, chunkTimeoutMs: shortMs / 2 },
    play: async () => {},
    outcome: 'client-stalled',
  },
  {
    promise: 'the client sends less than it must while the upstream takes everything',
    passage: {
      leastRate: { bytes, perMs: shortMs, graceMs: 0 },
      clientSocketTimeoutMs: longMs,
      chunkTimeoutMs: shortMs / 2,
    },
    play: async (carriage) => {
      carriage.upstream.open();
      await carriage.send(half);
    },
    outcome: 'client-too-slow',
  },
  {
    promise: 'the upstream takes nothing while the client pushes, for longer than the client may be silent',
    passage: { ...strictClient, chunkTimeoutMs: 5 * shortMs },
    play: push,
    outcome: 'upstream-stalled',
  },
  {
    promise: 'the client was held back for longer than it may be silent, and then goes on',
    passage: { ...strictClient, chunkTimeoutMs: longMs },
    play: async (carriage) => {
      await push(carriage);
      await sleep(5 * shortMs);
      await finish(carriage);
    },
    outcome: 'sent',
  },
  {
    promise: 'the client was held back, is read from again, and sends no more',
    passage: { clientSocketTimeoutMs: shortMs, chunkTimeoutMs: longMs },
    play: async (carriage) => {
      await push(carriage);
      carriage.upstream.open();
    },
    outcome: 'client-stalled',
  },
  {
    promise: 'the upstream does not take the last bytes, and the client has nothing left to send',
    passage: { ...strictClient, chunkTimeoutMs: 5 * shortMs },
    play: async (carriage) => {
      carriage.upstream.open();
      await carriage.send(others);
      await eventually(() => carriage.upstream.takenBytes >= others.length, 'the upstream takes the others');
      carriage.upstream.close();
      await carriage.send(last);
      if (carriage.passage.declaredBytes === null) await carriage.send('');
    },
    outcome: 'upstream-stalled',
  },
  {
    promise: 'both are silent, and the time of the upstream is over first',
    passage: { clientSocketTimeoutMs: longMs, chunkTimeoutMs: shortMs },
    play: async (carriage) => carriage.send(Buffer.alloc(64 * KiB)),
    outcome: 'upstream-stalled',
  },
  {
    promise: 'both are silent, and the time of the client is over first',
    passage: { clientSocketTimeoutMs: shortMs, chunkTimeoutMs: longMs },
    play: async (carriage) => carriage.send(Buffer.alloc(64 * KiB)),
    outcome: 'client-stalled',
  },
  {
    promise: 'the body takes longer than it may, mostly waiting for the client',
    passage: { timeLimit: { baseMs: shortMs, perGibMs: 0 } },
    play: async (carriage) => {
      carriage.upstream.open();
      await carriage.send(half);
    },
    outcome: 'client-too-slow',
  },
  {
    promise: 'the body takes longer than it may, mostly waiting for the upstream',
    passage: { timeLimit: { baseMs: shortMs, perGibMs: 0 } },
    play: push,
    outcome: 'upstream-stalled',
  },
  {
    promise: 'the body takes longer than its base, but not than its size allows',
    // 60 ms + 1 hour for each GiB: 14 s for 4 MiB, 7 s for the half of it that has arrived
    passage: { timeLimit: { baseMs: 60, perGibMs: 3_600_000 } },
    play: async (carriage) => {
      carriage.upstream.open();
      await carriage.send(half);
      await sleep(2 * shortMs);
      await finish(carriage);
    },
    outcome: 'sent',
  },
];

describe('an upload without progress', () => {
  let carriage: Carriage;
  afterEach(() => carriage.end());

  for (const { promise, passage, play, outcome } of rows) {
    for (const framing of ['known', 'unknown'] as const) {
      it(`${outcome}: ${promise} (${framing} length)`, async () => {
        carriage = await Carriage.begin(framing === 'known' ? bytes : null, passage);
        const carried = carriage.carry();
        await play(carriage);
        const came = await carried;
        assert.equal(came instanceof GatewayError ? came.code : came, outcome);
        if (came instanceof GatewayError) assert.equal(came.ending, outcome);
      });
    }
  }

  it('gives the client its whole time when it is read from again', async () => {
    carriage = await Carriage.begin(bytes, { clientSocketTimeoutMs: longMs });
    const { mock: rewound } = mock.method(carriage.request.socket, 'setTimeout');
    void carriage.carry();
    assert.equal(rewound.callCount(), 1, 'at the start');
    await push(carriage);
    assert.equal(rewound.callCount(), 1, 'not while it is held back');
    carriage.upstream.open();
    await eventually(() => carriage.upstream.takenBytes === half.length, 'the upstream takes what was sent');
    assert.ok(rewound.callCount() > 1, 'when it is read from again');
    assert.deepEqual(rewound.calls.at(-1)?.arguments, [longMs]);
  });

  it('sent: the quota was asked for longer than the client may be silent', async () => {
    let answer = (_allowedBytes: number): void => {};
    carriage = await Carriage.begin(null, {
      ...strictClient,
      chunkTimeoutMs: shortMs,
      allowedBytes: 1,
      allowMore: () =>
        new Promise((resolve) => {
          answer = resolve;
        }),
    });
    carriage.upstream.open();
    const carried = carriage.carry();
    await carriage.send('more than one byte');
    await eventually(() => carriage.request.isPaused(), 'the quota is asked');
    await sleep(5 * shortMs);
    answer(1_000);
    await carriage.send('');
    assert.equal(await carried, 'sent');
  });

  it('tells how long it waited for whom when the time for the body is over', async () => {
    carriage = await Carriage.begin(bytes, { timeLimit: { baseMs: 250, perGibMs: 0 } });
    const carried = carriage.carry();
    await push(carriage);
    const error = await carried;
    assert.ok(error instanceof GatewayError, 'it ended');
    const times =
      /^The body took longer than 0\.25 s: (\d+\.\d{3}) s were spent waiting for the client, (\d+\.\d{3}) s for the API\.$/;
    const [, clientSeconds, upstreamSeconds] = times.exec(error.message) ?? [];
    assert.ok(Number(upstreamSeconds) > Number(clientSeconds), error.message);
  });

  it('is judged by what was sent, not by when a busy gateway came to read it', async () => {
    carriage = await Carriage.begin(bytes, {
      clientSocketTimeoutMs: shortMs,
      leastRate: { bytes: 1, perMs: shortMs, graceMs: 0 },
      chunkTimeoutMs: shortMs,
    });
    carriage.upstream.open();
    const carried = carriage.carry();
    for (let i = 0; i < 8; i += 1) {
      // with the kernel before anything else happens in this process
      void carriage.send(Buffer.alloc(bytes / 8));
      const untilMs = performance.now() + 1.5 * shortMs;
      while (performance.now() < untilMs);
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(await carried, 'sent');
  });

  it('leaves no timer behind', async () => {
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    carriage = await Carriage.begin(3, {
      chunkTimeoutMs: longMs,
      leastRate: { bytes: 1, perMs: longMs, graceMs: 0 },
      timeLimit: { baseMs: longMs, perGibMs: 0 },
    });
    const before = timers();
    carriage.upstream.open();
    const carried = carriage.carry();
    assert.equal(timers(), before + 3);
    await carriage.send('all');
    assert.equal(await carried, 'sent');
    assert.equal(timers(), before);
  });

  for (const [framing, declaredBytes] of [
    ['known length', 3],
    ['unknown length', null],
  ] as const) {
    it(`may be whole upstream when the kernel has all of it, and not before (${framing})`, async () => {
      const stop = new AbortController();
      carriage = await Carriage.begin(declaredBytes, { signal: stop.signal, flushAfterMs: 0 });
      const carried = carriage.carry();
      await carriage.send('all');
      if (declaredBytes === null) await carriage.send('');
      const { upstream, passage } = carriage;
      await eventually(() => assert.equal(upstream.writableLength > 0, true), 'its bytes wait');
      stop.abort(new GatewayError('cancelled', 'x', { ending: 'cancelled' }));
      assert.ok((await carried) instanceof GatewayError);
      assert.equal(passage.progress.endSent, false);
      carriage.end();

      carriage = await Carriage.begin(declaredBytes, { flushAfterMs: 0 });
      carriage.upstream.open();
      const other = carriage.carry();
      await carriage.send('all');
      if (declaredBytes === null) await carriage.send('');
      assert.equal(await other, 'sent');
      assert.equal(carriage.passage.progress.endSent, true);
    });
  }
});
