import assert from 'node:assert/strict';
import { timeFor } from '../../src/core/time-limit.ts';
import { GiB } from '../../src/core/units.ts';

describe('the time for a body', () => {
  const rows: readonly (readonly [baseMs: number, perGibMs: number, bytes: number, ms: number])[] = [
    [0, 0, 0, Infinity],
    [0, 0, 100 * GiB, Infinity],
    [500, 0, 0, 500],
    [500, 0, 100 * GiB, 500],
    [500, 600_000, 0, 500],
    [500, 600_000, GiB, 600_500],
    [500, 600_000, 2.5 * GiB, 1_500_500],
    // in part for a part of a GiB, and never less than is due
    [500, 600_000, 1, 501],
    [500, 1, GiB + 1, 502],
  ];
  for (const [baseMs, perGibMs, bytes, ms] of rows) {
    it(`${ms} ms for ${bytes} bytes with a base of ${baseMs} ms and ${perGibMs} ms for each GiB`, () => {
      assert.equal(timeFor({ baseMs, perGibMs }, bytes), ms);
    });
  }
});
