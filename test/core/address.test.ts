import assert from 'node:assert/strict';
import { SocketAddress } from 'node:net';
import fc from 'fast-check';
import { ipv6Groups, isAddress, writeIpv6 } from '../../src/core/address.ts';

describe('an IPv6 address', () => {
  for (const [groups, written] of [
    ['0:0:0:0:0:0:0:0', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['1:0:0:0:0:0:0:0', '1::'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['10:0:0:20:30:40:50:60', '10::20:30:40:50:60'],
    ['1:2:3:4:5:6:10:0', '1:2:3:4:5:6:10:0'],
    ['0:0:0:0:0:ffff:c000:201', '192.0.2.1'],
  ] as const) {
    it(`${groups} is written as ${written}`, () => {
      assert.equal(writeIpv6(ipv6Groups(groups)), written);
    });
  }

  it('has one form, the one that the kernel writes', () => {
    const group = fc.oneof(fc.constant(0), fc.nat(0xffff));
    fc.assert(
      fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
        // addresses that hold an IPv4 one are written in dots by some
        fc.pre(groups.slice(0, 5).some((each) => each !== 0));
        const spelled = groups.map((each) => each.toString(16)).join(':');
        const written = writeIpv6(groups);
        assert.equal(written, new SocketAddress({ address: spelled, family: 'ipv6' }).address);
        assert.equal(isAddress(written), true);
        assert.deepEqual(ipv6Groups(written), groups);
      }),
    );
  });
});
