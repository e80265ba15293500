import assert from 'node:assert/strict';
import { RateWatch } from '../../src/core/least-rate.ts';

type Step =
  | { readonly at: number; readonly bytes: number }
  | { readonly at: number; readonly hold: boolean }
  | { readonly at: number; readonly left: number };

const came = (at: number, bytes: number): Step => ({ at, bytes });
const held = (at: number): Step => ({ at, hold: true });
const released = (at: number): Step => ({ at, hold: false });
/** What is left at a moment; 0 = too slow. */
const left = (at: number, ms: number): Step => ({ at, left: ms });

const second = { bytes: 100, perMs: 1_000, graceMs: 0 };

const rows: Readonly<Record<string, readonly [typeof second, readonly Step[]]>> = {
  'a silent client is too slow when the time is over, not a millisecond before': [
    second,
    [left(0, 1_000), left(999, 1), left(1_000, 0), left(5_000, 0)],
  ],
  'one byte too few is too slow': [second, [came(500, 99), left(999, 1), left(1_000, 0)]],
  'exactly enough is enough': [second, [came(500, 100), left(1_000, 500), left(1_500, 0)]],
  'exactly enough at the very end is enough': [second, [came(1_000, 100), left(1_000, 1_000)]],
  'more than enough does not count for the next lot': [
    second,
    [came(500, 250), came(600, 50), left(1_499, 1), left(1_500, 0)],
  ],
  'bytes in small pieces add up': [
    second,
    [came(300, 40), came(600, 40), came(900, 19), left(900, 100), came(950, 1), left(950, 1_000)],
  ],
  'a steady client at the rate is never too slow': [
    second,
    Array.from({ length: 50 }, (_, i) => [
      came(100 * (i + 1), 10),
      left(100 * (i + 1), 1_000 - 100 * ((i + 1) % 10)),
    ]).flat(),
  ],
  'a steady client just under the rate is too slow in the first lot': [
    second,
    [
      ...Array.from({ length: 9 }, (_, i) => came(100 * (i + 1), 9)),
      left(999, 1),
      came(1_000, 9),
      left(1_000, 0),
    ],
  ],
  'a long silence after a burst is no average': [second, [came(0, 1_000_000), left(1_000, 0)]],
  'in the grace nothing is asked for': [
    { ...second, graceMs: 3_000 },
    [left(0, 4_000), left(2_999, 1_001), left(3_999, 1), left(4_000, 0)],
  ],
  'what came in the grace and is no whole lot counts for the first': [
    { ...second, graceMs: 3_000 },
    [came(100, 60), left(3_000, 1_000), came(3_999, 40), left(3_999, 1_000)],
  ],
  'whole lots in the grace move nothing': [
    { ...second, graceMs: 3_000 },
    [came(100, 500), left(3_500, 500), left(4_000, 0)],
  ],
  'a lot in the grace moves the next one not before its end': [
    { ...second, graceMs: 200 },
    [came(100, 100), left(200, 1_000), came(900, 100), left(900, 1_000)],
  ],
  'time in which the client is held back stands still': [
    second,
    [
      held(400),
      left(400, Infinity),
      left(1_000_000, Infinity),
      released(1_000_000),
      left(1_000_000, 600),
      left(1_000_600, 0),
    ],
  ],
  'to hold twice, or to release twice, is to do it once': [
    second,
    [held(400), held(700), released(1_000), released(1_500), left(1_500, 100), left(1_600, 0)],
  ],
  'the grace stands still too': [
    { ...second, graceMs: 500 },
    [held(100), released(9_100), left(9_100, 1_400), left(10_500, 0)],
  ],
  'what arrives while held back counts, and begins a lot that stands still': [
    second,
    [held(900), came(950, 100), released(2_000), left(2_000, 1_000), left(3_000, 0)],
  ],
  'a client held back more often than not is judged by the rest': [
    second,
    [
      ...Array.from({ length: 4 }, (_, i) => [released(1_000 * i), held(1_000 * i + 249)]).flat(),
      released(4_000),
      left(4_000, 4),
      left(4_004, 0),
    ],
  ],
  'a quarter of a second is measured as exactly': [
    { bytes: 1, perMs: 250, graceMs: 0 },
    [left(249.5, 0.5), came(249.9, 1), left(499.5, 0.3999999999999773), left(499.9, 0)],
  ],
};

describe('the least rate of a client', () => {
  for (const [promise, [rate, steps]] of Object.entries(rows)) {
    it(promise, () => {
      // any beginning: only differences matter
      const startMs = 4_096;
      const watch = new RateWatch(rate, startMs);
      for (const step of steps) {
        const nowMs = startMs + step.at;
        if ('bytes' in step) watch.receive(step.bytes, nowMs);
        else if ('left' in step) {
          const leftMs = watch.leftMs(nowMs);
          assert.ok(
            leftMs === step.left || Math.abs(leftMs - step.left) < 1e-6,
            `${step.left} ms are left at ${step.at}, not ${leftMs}`,
          );
        } else if (step.hold) watch.hold(nowMs);
        else watch.release(nowMs);
      }
    });
  }

  it('tells how much of the lot has arrived', () => {
    const watch = new RateWatch(second, 0);
    watch.receive(99, 1);
    assert.equal(watch.lotBytes, 99);
    watch.receive(1, 2);
    assert.equal(watch.lotBytes, 0);
  });
});
