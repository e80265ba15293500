import assert from 'node:assert/strict';
import { addressBlock } from '../../src/core/address-block.ts';
import { type RateRule, rateFields, ruleName } from '../../src/core/rate-limit.ts';

const rule: RateRule = { action: 'create', per: 'project', requests: 100, intervalMs: 60_000 };

describe('what counts as one address', () => {
  const rows = {
    '192.0.2.1': '192.0.2.1',
    unix: 'unix',
    unknown: 'unknown',
    '::1': '0:0:0:0::/64',
    '::': '0:0:0:0::/64',
    '2001:db8::1': '2001:db8:0:0::/64',
    '2001:DB8:0:0:ffff:1:2:3': '2001:db8:0:0::/64',
    '2001:0db8:0000:0000::': '2001:db8:0:0::/64',
    '2001:db8:0:1::1': '2001:db8:0:1::/64',
    '1:2:3:4:5:6:7:8': '1:2:3:4::/64',
    '1:2:3::192.0.2.1': '1:2:3:0::/64',
    '::ffff:192.0.2.1': '192.0.2.1',
    '::ffff:c000:201': '192.0.2.1',
    '64:ff9b::192.0.2.1': '64:ff9b:0:0::/64',
  };
  for (const [address, block] of Object.entries(rows)) {
    it(`${address} counts as ${block}`, () => assert.equal(addressBlock(address), block));
  }
});

describe('fields about the rate', () => {
  it('tell policy and what is left in whole seconds, rounded up', () => {
    const state = { name: 'create', rule, remaining: 50, resetMs: 29_001 };
    assert.deepEqual(rateFields([state]), [
      'RateLimit-Policy',
      '"create";q=100;w=60',
      'RateLimit',
      '"create";r=50;t=30',
    ]);
    const quick = { name: 'q', rule: { ...rule, intervalMs: 250 }, remaining: 0, resetMs: 0 };
    assert.deepEqual(rateFields([state, quick]), [
      'RateLimit-Policy',
      '"create";q=100;w=60, "q";q=100;w=1',
      'RateLimit',
      '"create";r=50;t=30, "q";r=0;t=1',
    ]);
  });

  it('are none where nothing was counted', () => assert.deepEqual(rateFields([]), []));

  it('name a rule by its action, or by more where the action has several', () => {
    const second: RateRule = { ...rule, intervalMs: 1_500 };
    const other: RateRule = { ...rule, action: 'any' };
    assert.equal(ruleName(rule, [rule, other]), 'create');
    assert.equal(ruleName(rule, [rule, second, other]), 'create-project-60s');
    assert.equal(ruleName(second, [rule, second, other]), 'create-project-1.5s');
  });
});
