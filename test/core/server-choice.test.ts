import assert from 'node:assert/strict';
import { eligible, leastLoaded } from '../../src/core/server-choice.ts';

const server = (name: string, load: number, healthy = true) => ({ name, load, healthy });

describe('the choice of a server', () => {
  const table: readonly (readonly [string, ReturnType<typeof server>[], number, string | undefined])[] = [
    ['none', [], 0, undefined],
    ['the only one', [server('a', 9)], 0, 'a'],
    ['the only one, unhealthy', [server('a', 9, false)], 3, 'a'],
    ['the one with less', [server('a', 2), server('b', 1)], 0, 'b'],
    ['the first of equals, first', [server('a', 1), server('b', 1)], 0, 'a'],
    ['the second of equals, then', [server('a', 1), server('b', 1)], 1, 'b'],
    ['the first of equals, again', [server('a', 1), server('b', 1)], 2, 'a'],
    ['among equals only', [server('a', 1), server('b', 2), server('c', 1)], 1, 'c'],
    ['a healthy one with more', [server('a', 0, false), server('b', 7)], 0, 'b'],
    ['the least of all where none is healthy', [server('a', 1, false), server('b', 0, false)], 0, 'b'],
  ];
  for (const [what, servers, turn, expected] of table) {
    it(`takes ${what}`, () => {
      assert.equal(leastLoaded(servers, turn)?.name, expected);
    });
  }

  it('is among the healthy, or among all where none is', () => {
    const [a, b] = [server('a', 0, false), server('b', 0)];
    assert.deepEqual(eligible([a, b]), [b]);
    assert.deepEqual(eligible([a]), [a]);
  });
});
