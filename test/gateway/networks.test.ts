import assert from 'node:assert/strict';
import { Networks } from '../../src/http/networks.ts';

describe('a set of networks', () => {
  const networks = new Networks(['10.0.0.0/8', '192.0.2.7', 'fd00::/8', 'unix']);
  const members: readonly [address: string, member: boolean][] = [
    ['10.0.0.0', true],
    ['10.255.255.255', true],
    ['11.0.0.0', false],
    ['9.255.255.255', false],
    ['192.0.2.7', true],
    ['192.0.2.8', false],
    ['fd00::1', true],
    ['fe00::1', false],
    ['unix', true],
    ['unknown', false],
    ['', false],
  ];

  it('says the same of each address however often, and in whatever order, it is asked', () => {
    for (const asked of [members, members.toReversed(), members]) {
      for (const [address, member] of asked) assert.equal(networks.has(address), member, address);
    }
  });

  it('does not forget what it is over the many that it is asked of', () => {
    const addresses = Array.from({ length: 3_000 }, (_, i) => `10.${i >> 8}.${i & 255}.1`);
    for (const address of addresses) assert.equal(networks.has(address), true);
    for (const [address, member] of members) assert.equal(networks.has(address), member, address);
  });
});
