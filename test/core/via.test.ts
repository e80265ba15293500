import assert from 'node:assert/strict';
import { hasPassed, longestVia, maxViaEntries, viaWith } from '../../src/core/via.ts';

describe('Via', () => {
  const me = 'sluice-0123456789abcdef';

  for (const [what, raw, passed] of [
    ['no Via', ['Host', 'x'], false],
    ['an empty Via', ['Via', ''], false],
    ['our own member', ['Via', viaWith(undefined, '1.1', me)], true],
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

  it('names our hop with the version of the message as it came', () => {
    assert.equal(viaWith(undefined, '1.1'), '1.1 sluice');
    assert.equal(viaWith(undefined, '1.0'), '1.0 sluice');
    assert.equal(viaWith(' ', '1.1'), '1.1 sluice');
  });

  it('is appended to what came', () => {
    assert.equal(
      viaWith('1.0 fred, 1.1 p.example.net (a "b" c)', '1.1'),
      '1.0 fred, 1.1 p.example.net (a "b" c), 1.1 sluice',
    );
  });

  for (const over of [-1, 0, 1]) {
    it(`has ours alone where what came is longer than ${longestVia} characters: ${over} beyond`, () => {
      const came = `1.1 ${'x'.repeat(longestVia - 4 + over)}`;
      assert.equal(viaWith(came, '1.1'), over > 0 ? '1.1 sluice' : `${came}, 1.1 sluice`);
    });
    it(`has ours alone where what came has more than ${maxViaEntries} entries: ${over} beyond`, () => {
      const came = Array.from({ length: maxViaEntries + over }, () => '1.1 a').join(', ');
      assert.equal(viaWith(came, '1.1'), over > 0 ? '1.1 sluice' : `${came}, 1.1 sluice`);
    });
  }
});
