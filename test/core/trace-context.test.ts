import assert from 'node:assert/strict';
import {
  longestTraceparent,
  longestTracestate,
  maxTracestateMembers,
  traceContext,
  traceFields,
} from '../../src/core/trace-context.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const parent = `00-${traceId}-00f067aa0ba902b7-01`;
const sentOn = (...raw: string[]) => traceFields(traceContext(raw));
const state = (...lists: string[]) =>
  traceContext(['traceparent', parent, ...lists.flatMap((list) => ['tracestate', list])])?.tracestate;

describe('a trace context', () => {
  it('goes on as it came, and tells its trace', () => {
    const raw = ['Traceparent', parent, 'TraceState', 'vendor=1, a@b=x y'];
    assert.deepEqual(sentOn(...raw), ['traceparent', parent, 'tracestate', 'vendor=1, a@b=x y']);
    assert.equal(traceContext(raw)?.traceId, traceId);
  });

  for (const [why, value] of [
    ['is not sampled', `00-${traceId}-00f067aa0ba902b7-00`],
    ['has flags of the future', `00-${traceId}-00f067aa0ba902b7-ff`],
    ['is of a version to come', `01-${traceId}-00f067aa0ba902b7-01`],
    ['is of a version to come and has more to say', `cc-${traceId}-00f067aa0ba902b7-01-what-the-future-is`],
  ] as const) {
    it(`goes on if it ${why}`, () => assert.deepEqual(sentOn('traceparent', value), ['traceparent', value]));
  }

  for (const [why, value] of [
    ['is empty', ''],
    ['is of version ff', `ff-${traceId}-00f067aa0ba902b7-01`],
    ['has no trace', `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`],
    ['has no parent', `00-${traceId}-${'0'.repeat(16)}-01`],
    ['is in capitals', parent.toUpperCase()],
    ['has a short trace', `00-${traceId.slice(1)}-00f067aa0ba902b7-01`],
    ['has a long trace', `00-${traceId}0-00f067aa0ba902b7-01`],
    ['has a short parent', `00-${traceId}-0f067aa0ba902b7-01`],
    ['has no flags', `00-${traceId}-00f067aa0ba902b7`],
    ['has one flag', `00-${traceId}-00f067aa0ba902b7-1`],
    ['has what is no digit', `00-${traceId.replace('4', 'g')}-00f067aa0ba902b7-01`],
    ['has more to say in version 00', `${parent}-`],
    ['goes on without a dash', `01${parent.slice(2)}x`],
    ['is two', `${parent}, ${parent}`],
  ] as const) {
    it(`is dropped, with its tracestate, if it ${why}`, () => {
      assert.deepEqual(sentOn('traceparent', value, 'tracestate', 'a=1'), []);
    });
  }

  it('is dropped if it stands twice, were they the same, or if there is but a tracestate', () => {
    assert.deepEqual(sentOn('traceparent', parent, 'Traceparent', parent), []);
    const later = `01${parent.slice(2)}-x`;
    assert.deepEqual(sentOn('traceparent', later, 'Traceparent', later), []);
    assert.deepEqual(sentOn('tracestate', 'a=1'), []);
  });

  for (const over of [-1, 0, 1]) {
    it(`may have ${longestTraceparent} characters: ${over} beyond`, () => {
      const value = `01${parent.slice(2)}-`.padEnd(longestTraceparent + over, 'x');
      assert.equal(traceContext(['traceparent', value]) === null, over > 0);
    });

    it(`may have ${maxTracestateMembers} members in its state: ${over} beyond`, () => {
      const list = Array.from({ length: maxTracestateMembers + over }, (_, i) => `k${i}=v`).join(',');
      assert.equal(state(list), over > 0 ? null : list);
    });

    it(`may have ${longestTracestate} characters in its state: ${over} beyond`, () => {
      const list = `a=${'x'.repeat(254)},b=${'x'.repeat(253 + over)}`;
      assert.equal(list.length, longestTracestate + over);
      assert.equal(state(list), over > 0 ? null : list);
    });

    it(`may have 256 characters in a value of its state: ${over} beyond`, () => {
      const list = `a=${'x'.repeat(256 + over)}`;
      assert.equal(state(list), over > 0 ? null : list);
    });

    it(`may have 256 characters in a key of its state: ${over} beyond`, () => {
      const list = `${'k'.repeat(256 + over)}=1`;
      assert.equal(state(list), over > 0 ? null : list);
    });
  }

  it('has one state of several fields, in their order', () => assert.equal(state('a=1', 'b=2'), 'a=1, b=2'));

  for (const list of ['a=1,,b=2', 'a=1 ,\tb=2', '0a@v=1', 'a_-*/=~!']) {
    it(`keeps the state ${JSON.stringify(list)}`, () => assert.equal(state(list), list));
  }
  for (const list of ['', ',', 'a', 'a=', '=1', 'A=1', 'a=1=2', 'a=b\tc', 'a=1,a=2', 'a b=1', 'a=é', '_=1']) {
    it(`loses the state ${JSON.stringify(list)} and goes on`, () => {
      assert.deepEqual(sentOn('traceparent', parent, 'tracestate', list), ['traceparent', parent]);
    });
  }
});
