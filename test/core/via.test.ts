import assert from 'node:assert/strict';
import { longestVia, maxViaEntries, viaWith } from '../../src/core/via.ts';

describe('Via', () => {
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
