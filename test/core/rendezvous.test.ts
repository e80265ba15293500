import assert from 'node:assert/strict';
import { rendezvousOrder } from '../../src/rendezvous.ts';

const names = ['http://a:1', 'http://b:2', 'http://c:3'];
const keys = Array.from({ length: 300 }, (_, i) => `image-${i}`);
const firstOf = (among: readonly string[], key: string): string | undefined => rendezvousOrder(among, key)[0];

describe('the rendezvous order', () => {
  it('holds every name once, and is the same in whatever order they are given', () => {
    for (const key of keys) {
      const order = rendezvousOrder(names, key);
      assert.deepEqual(order.toSorted(), names);
      assert.deepEqual(rendezvousOrder(names.toReversed(), key), order);
    }
  });

  it('spreads keys over the names', () => {
    for (const name of names) {
      const share = keys.filter((key) => firstOf(names, key) === name).length;
      assert.equal(share > 70 && share < 130, true, `${name} is first for ${share} of 300`);
    }
  });

  it('moves those keys only that the name was first for which goes away', () => {
    const [, ...left] = names;
    for (const key of keys) {
      const order = rendezvousOrder(names, key);
      assert.equal(firstOf(left, key), order[0] === names[0] ? order[1] : order[0]);
    }
  });
});
