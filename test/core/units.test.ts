import assert from 'node:assert/strict';
import { assertBytes, defaultChunkBytes, KiB, MiB, parseDuration, parseSize } from '../../src/core/units.ts';

describe('units', () => {
  it('has chunks of 4 MiB', () => {
    assert.equal(KiB, 1024);
    assert.equal(MiB, 1_048_576);
    assert.equal(defaultChunkBytes, 4_194_304);
  });

  const sizes: [value: unknown, bytes: number | null][] = [
    [0, 0],
    [1, 1],
    [2 ** 53 - 1, 2 ** 53 - 1],
    [2 ** 53, null],
    [-1, null],
    [0.5, null],
    [Number.NaN, null],
    [Number.POSITIVE_INFINITY, null],
    ['0', 0],
    ['512', 512],
    ['512B', 512],
    ['1KB', 1000],
    ['4MB', 4_000_000],
    ['1GB', 1e9],
    ['1TB', 1e12],
    ['64KiB', 65_536],
    ['4MiB', 4_194_304],
    ['10GiB', 10_737_418_240],
    ['1TiB', 1_099_511_627_776],
    ['4 MiB', 4_194_304],
    [' 4MiB ', 4_194_304],
    ['1.5KiB', 1536],
    ['0.5B', null],
    ['1.0001KB', null],
    ['4  MiB', null],
    ['4mib', null],
    ['4Mib', null],
    ['4M', null],
    ['4s', null],
    ['-4MiB', null],
    ['+4MiB', null],
    ['.5KiB', null],
    ['1e3', null],
    ['0x10', null],
    ['MiB', null],
    ['', null],
    ['8192TiB', null],
    [null, null],
    [undefined, null],
    [true, null],
    [[4], null],
    [4n, null],
    ['4constructor', null],
  ];
  for (const [value, bytes] of sizes) {
    it(`the size ${typeof value} ${String(value)} is ${bytes === null ? 'refused' : `${bytes} bytes`}`, () => {
      assert.equal(parseSize(value), bytes);
    });
  }

  const durations: [value: unknown, ms: number | null][] = [
    [0, 0],
    [1, 1000],
    [0.25, 250],
    [0.0001, 1],
    [2_147_483.647, 2 ** 31 - 1],
    [2_147_483.648, null],
    [-1, null],
    [Number.NaN, null],
    [Number.POSITIVE_INFINITY, null],
    ['0', 0],
    ['0s', 0],
    ['5', 5000],
    ['250ms', 250],
    ['0.4ms', 1],
    ['1.5ms', 2],
    ['30s', 30_000],
    ['15m', 900_000],
    ['2h', 7_200_000],
    ['1.5h', 5_400_000],
    ['2 h', 7_200_000],
    ['596h', 2_145_600_000],
    ['597h', null],
    ['2H', null],
    ['1d', null],
    ['1MiB', null],
    ['-1s', null],
    ['1h30m', null],
    ['', null],
    [null, null],
    [{}, null],
    ['4toString', null],
  ];
  for (const [value, ms] of durations) {
    it(`the duration ${typeof value} ${String(value)} is ${ms === null ? 'refused' : `${ms} ms`}`, () => {
      assert.equal(parseDuration(value), ms);
    });
  }

  for (const [bytes, fits] of [
    [0, true],
    [9, true],
    [10, true],
    [11, false],
    [-1, false],
    [0.5, false],
    [Number.NaN, false],
    [Infinity, false],
  ] as const) {
    it(`${bytes} ${fits ? 'is' : 'is not'} a number of bytes from 0 to 10`, () => {
      const asserted = (): void => assertBytes('something', bytes, 10);
      if (fits) asserted();
      else assert.throws(asserted, RangeError);
    });
  }

  it('2^53 is no number of bytes, since its neighbour is the same', () => {
    assertBytes('something', 2 ** 53 - 1);
    assert.throws(() => assertBytes('something', 2 ** 53), RangeError);
  });
});
