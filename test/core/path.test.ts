import assert from 'node:assert/strict';
import type { ErrorCode } from '../../src/core/errors.ts';
import { parseTarget } from '../../src/core/path.ts';
import { assertRefuses } from './refusal.ts';

const controls = Array.from({ length: 32 }, (_, code) => String.fromCharCode(code)).concat('\x7f');
const encoded = (code: number): string => `%${code.toString(16).padStart(2, '0')}`;
const unreserved = [...'ABCXYZabcxyz0189-._~'].map((character) => character.charCodeAt(0));

describe('a request target', () => {
  const accepted: [target: string, segments: string[], query: string][] = [
    ['/', [''], ''],
    ['/v2', ['v2'], ''],
    ['/v2/', ['v2', ''], ''],
    ['/v2/images/', ['v2', 'images', ''], ''],
    ['/v2/images?limit=2&x=%zz', ['v2', 'images'], '?limit=2&x=%zz'],
    ['/v2/images?', ['v2', 'images'], '?'],
    ['/a?b?c', ['a'], '?b?c'],
    ['/a?//../%2f%00', ['a'], '?//../%2f%00'],
    ['/a?"<>\\^`{|}[]%', ['a'], '?"<>\\^`{|}[]%'],
    ['/a%20b/caf%C3%A9', ['a%20b', 'caf%C3%A9'], ''],
    ['/a%3Bb%3Fc%23d%25', ['a%3Bb%3Fc%23d%25'], ''],
    ['/a;b=c/d', ['a;b=c', 'd'], ''],
    ["/-._~!$&'()*+,;=:@", ["-._~!$&'()*+,;=:@"], ''],
    ['/...', ['...'], ''],
    ['/.a/a./..a/a..', ['.a', 'a.', '..a', 'a..'], ''],
  ];
  for (const [target, segments, query] of accepted) {
    it(`${target} is read as it stands`, () => {
      const path = `/${segments.join('/')}`;
      assert.deepEqual(parseTarget(target), { segments, path, query });
    });
  }

  const refused: [code: ErrorCode, why: string, targets: string[]][] = [
    ['target-invalid', 'is not in origin-form', ['', '*', 'v2/images', '?a', 'http://h/v2', 'h:80', ' /v2']],
    ['target-invalid', 'holds what a path may not hold', [...' "<>^`{|}\\#[]'].map((c) => `/a${c}b`)],
    ['target-invalid', 'holds a control character', controls.map((c) => `/a${c}`)],
    ['target-invalid', 'is not ASCII', ['/é', '/a\u0080', '/\u2215', '/v2?é']],
    ['target-invalid', 'has a malformed escape', ['/%', '/a%', '/a%2', '/%zz', '/%2', '/%u0041', '/%0']],
    [
      'target-invalid',
      'has a query with more than printable ASCII',
      ['/a?b c', '/a?b#c', '/a?\t', '/a?\x7f'],
    ],
    ['target-invalid', 'has a fragment', ['/a#b', '/a?b#c', '/#']],
    ['target-ambiguous', 'has an empty segment', ['//', '//v2/images', '/v2//images', '/v2/images//']],
    ['target-ambiguous', 'has a dot segment', ['/.', '/..', '/./a', '/a/../b', '/a/.', '/a/..', '/a/./b']],
    ['target-ambiguous', 'has a dot segment with a parameter', ['/a/..;/b', '/.;x', '/a/..;x=y']],
    ['target-ambiguous', 'has an encoded dot', ['/%2e', '/%2E%2e/a', '/.%2e/a', '/a%2eb']],
    ['target-ambiguous', 'has an encoded slash or backslash', ['/a%2fb', '/a%2Fb', '/a%5cb', '/a%5C']],
    ['target-ambiguous', 'has an encoded control', controls.map((c) => `/a${encoded(c.charCodeAt(0))}`)],
    [
      'target-ambiguous',
      'has an encoded unreserved character',
      unreserved.map((code) => `/${encoded(code)}`),
    ],
    ['target-ambiguous', 'has escapes that are not UTF-8', ['/%C0%AF', '/%e0%80%af', '/%ff', '/caf%E9']],
  ];
  for (const [code, why, targets] of refused) {
    it(`that ${why} is refused as ${code}`, () => {
      for (const target of targets) assertRefuses(code, () => parseTarget(target), JSON.stringify(target));
    });
  }

  it('may hold the escape of every reserved character but the slash', () => {
    for (const character of ':?#[]@!$&\'()*+,;=% "<>^`{|}') {
      const path = `/a${encoded(character.charCodeAt(0))}`;
      assert.equal(parseTarget(path).path, path);
    }
  });
});
