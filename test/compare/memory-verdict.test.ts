import assert from 'node:assert/strict';
import { memoryVerdict } from '../../nginx-compare/memory-run.ts';

/** Memory at each hundredth of the way. */
const samples = (residentBytes: (percent: number) => number) =>
  Array.from({ length: 101 }, (_, percent) => ({ bytes: percent, residentBytes: residentBytes(percent) }));

describe('Memory while bytes flow', () => {
  it('is flat when the second half needs no more than a tenth more than the first', () => {
    assert.equal(memoryVerdict(samples(() => 1_000)).flat, true);
    assert.equal(memoryVerdict(samples((percent) => (percent < 50 ? 1_000 : 1_100))).flat, true);
    assert.equal(memoryVerdict(samples((percent) => (percent < 50 ? 1_000 : 1_101))).flat, false);
  });

  it('is not flat when it grows a little all the time', () => {
    assert.equal(memoryVerdict(samples((percent) => 1_000 + percent * 5)).flat, false);
  });

  it('is not excused by what it needed in the first tenth', () => {
    assert.equal(
      memoryVerdict(samples((percent) => (percent < 10 ? 5_000 : 1_000 + percent * 5))).flat,
      false,
    );
  });

  it('is not flat by the last sample alone, nor without any', () => {
    assert.equal(memoryVerdict(samples((percent) => (percent < 100 ? 1_000 : 2_000))).flat, false);
    assert.equal(memoryVerdict([]).flat, false);
  });
});
