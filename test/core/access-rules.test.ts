import assert from 'node:assert/strict';
import { permitted } from '../../src/core/access-rules.ts';

const path = '/v2/images/ab-1/file';
const cases: readonly [what: string, pattern: string, path: string, allowed: boolean][] = [
  ['the path itself', path, path, true],
  ['a star is one segment', '/v2/images/*/file', path, true],
  ['a star is not two segments', '/v2/*/file', path, false],
  ['a star is not none', '/v2/images/*', '/v2/images/', false],
  ['a name is one segment', '/v2/images/{image_id}/file', path, true],
  ['a name is not two segments', '/v2/{x}/file', path, false],
  ['two stars are anything', '/v2/**', path, true],
  ['two stars are nothing too', '/v2/images**', '/v2/images', true],
  ['a dot is a dot', '/v2/images/ab.1/file', path, false],
  ['a bracket is a bracket', '/v2/images/[a-z]/file', '/v2/images/a/file', false],
  ['a plus is a plus', '/v2/images/a+/file', '/v2/images/aa/file', false],
  ['a brace that does not close is a brace', '/v2/{x', '/v2/{x', true],
  ['the whole path has to match, to its end', '/v2/images/ab-1', path, false],
  ['the whole path has to match, from its beginning', '/images/*/file', path, false],
];

describe('an access rule', () => {
  for (const [what, pattern, given, allowed] of cases) {
    it(`${what}: ${pattern} ${allowed ? 'allows' : 'does not allow'} ${given}`, () => {
      const rules = [{ service: 'image', method: 'PUT', path: pattern }];
      assert.equal(permitted(rules, { service: 'image', method: 'PUT', path: given }), allowed);
    });
  }

  it('with very many stars is judged at once, matching or not', () => {
    const given = `/v2/images/${'a'.repeat(36)}/file`;
    for (const [pattern, allowed] of [
      [`/v2/${'**'.repeat(60)}!`, false],
      [`/v2/${'**'.repeat(60)}`, true],
      [`/${'*'.repeat(1)}${'{x}'.repeat(40)}/**`, false],
      [`/v2/images/${'{x}'.repeat(36)}/file`, true],
      [`/v2/images/${'{x}'.repeat(37)}/file`, false],
    ] as const) {
      const rules = [{ service: 'image', method: 'PUT', path: pattern }];
      assert.equal(permitted(rules, { service: 'image', method: 'PUT', path: given }), allowed, pattern);
    }
  });

  it('is for its service and its method only', () => {
    const rules = [{ service: 'image', method: 'PUT', path }];
    assert.equal(permitted(rules, { service: 'volume', method: 'PUT', path }), false);
    assert.equal(permitted(rules, { service: 'image', method: 'POST', path }), false);
  });

  it('is one of several of which any may allow, and none allow nothing', () => {
    const rules = [
      { service: 'image', method: 'GET', path: '/**' },
      { service: 'image', method: 'PUT', path },
    ];
    assert.equal(permitted(rules, { service: 'image', method: 'PUT', path }), true);
    assert.equal(permitted([], { service: 'image', method: 'PUT', path }), false);
  });
});
