import assert from 'node:assert/strict';
import { hasPassed, viaMember } from '../../src/core/via.ts';

describe('Via', () => {
  const me = 'sluice-0123456789abcdef';

  for (const [what, raw, passed] of [
    ['no Via', ['Host', 'x'], false],
    ['an empty Via', ['Via', ''], false],
    ['our own member', ['Via', viaMember('1.1', me)], true],
    ['our own member, protocol named', ['via', `HTTP/1.1 ${me}`], true],
    ['our own member with a comment', ['VIA', `1.0\t${me} (around again)`], true],
    ['our own member among others', ['Via', `1.1 a,1.1 ${me} , 1.1 b`], true],
    ['our own member in a second line', ['Via', '1.1 a', 'Via', `1.1 ${me}`], true],
    ['another gateway', ['Via', '1.1 sluice-fedcba9876543210'], false],
    ['our name as part of another', ['Via', `1.1 ${me}0`], false],
    ['our name in a comment', ['Via', `1.1 a (not ${me})`], false],
    ['our name in another header', ['X-Via', `1.1 ${me}`], false],
  ] as const) {
    it(`with ${what} ${passed ? 'says' : 'does not say'} that a request was here`, () => {
      assert.equal(hasPassed(raw, me), passed);
    });
  }
});
