import assert from 'node:assert/strict';
import { entryFor, namePattern } from '../../src/core/server-name.ts';

describe('the certificate for a name', () => {
  const entries = [
    { names: ['first.example'] },
    { names: ['*.example.org', 'twice.example'] },
    { names: ['exact.example.org', 'Twice.Example'] },
  ];
  for (const [asked, index] of [
    ['first.example', 0],
    ['exact.example.org', 2],
    ['EXACT.example.org', 2],
    ['exact.example.org.', 2],
    ['other.example.org', 1],
    ['example.org', 0],
    ['a.other.example.org', 0],
    ['.example.org', 0],
    ['*.example.org', 1],
    ['twice.example', 1],
    ['', 0],
    ['nobody', 0],
  ] as const) {
    it(`is number ${index} for ${JSON.stringify(asked)}`, () => {
      assert.equal(entryFor(asked, entries), index);
    });
  }

  it('is the first where there is no other', () => {
    assert.equal(entryFor('any.example', []), 0);
  });

  for (const [name, fits] of [
    ['example.org', true],
    ['*.example.org', true],
    ['a-b.c_d.e', true],
    ['*', false],
    ['*.*.example.org', false],
    ['a.*.example.org', false],
    ['x*.example.org', false],
    ['.example.org', false],
    ['example.org.', false],
    ['exa mple.org', false],
  ] as const) {
    it(`${fits ? 'may' : 'may not'} be asked for by ${JSON.stringify(name)}`, () => {
      assert.equal(namePattern.test(name), fits);
    });
  }
});
