import assert from 'node:assert/strict';
import { Bound } from '../../src/core/bound.ts';

describe('a bound', () => {
  it('is crowded from nine tenths on, and full at all of it', () => {
    const bound = new Bound(10);
    const seen: string[] = [];
    for (let held = 0; held <= 10; held += 1) {
      seen.push(bound.full ? 'full' : bound.crowded ? 'crowded' : 'free');
      assert.equal(bound.acquire(), held < 10);
    }
    assert.deepEqual(seen.slice(8), ['free', 'crowded', 'full']);
    assert.equal(bound.held, 10);
  });

  it('takes an amount whole or not at all', () => {
    const bound = new Bound(10);
    assert.equal(bound.acquire(6), true);
    assert.equal(bound.acquire(5), false);
    assert.equal(bound.held, 6);
    assert.equal(bound.acquire(4), true);
  });

  it('counts what nobody asked it for, and what is left when it is made smaller', () => {
    const bound = new Bound(10);
    bound.add(12);
    bound.most = 5;
    assert.deepEqual([bound.held, bound.full, bound.acquire()], [12, true, false]);
    bound.add(-8);
    assert.deepEqual([bound.held, bound.full, bound.acquire()], [4, false, true]);
  });

  it('is never crowded nor full where it is 0', () => {
    const bound = new Bound(0);
    bound.add(1e12);
    assert.deepEqual([bound.crowded, bound.full, bound.acquire()], [false, false, true]);
  });
});
