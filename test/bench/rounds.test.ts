import assert from 'node:assert/strict';
import { alternate, row, spreadOf } from '../../bench/rounds.ts';

describe('rounds of a benchmark', () => {
  it('have a median that does not depend on the order, nor on how far the extremes are', () => {
    assert.deepEqual(spreadOf([9, 1, 1_000, 2, 3]), { median: 3, least: 1, most: 1_000 });
    assert.deepEqual(spreadOf([4, 1, 2, 100]), { median: 3, least: 1, most: 100 });
    assert.deepEqual(spreadOf([7]), { median: 7, least: 7, most: 7 });
  });

  it('cannot be told without any figure', () => {
    assert.throws(() => spreadOf([]), RangeError);
  });

  it('alternate between the contenders, and leave out the first of each', async () => {
    const turns: string[] = [];
    const contender = (name: string) => async (): Promise<number> => turns.push(name);
    const figures = await alternate({ a: contender('a'), b: contender('b') }, 2);
    assert.equal(turns.join(' '), 'a b a b a b');
    assert.deepEqual(
      figures,
      new Map([
        ['a', [3, 5]],
        ['b', [4, 6]],
      ]),
    );
  });

  it('are told with their ratio to a peer', () => {
    assert.equal(row('one', [2, 4, 3], [6], 'ms'), '| one | 3.00 ms | 2.00 to 4.00 | 0.50 |');
  });
});
