import assert from 'node:assert/strict';
import { EndGate } from '../../src/core/end-gate.ts';

/** `free` is what `onFree` said since the step before. */
type Step = 'claim' | 'hold' | 'release';
type Came = boolean | 'free' | 'nothing';

const rows: readonly { promise: string; steps: readonly (readonly [Step, Came])[] }[] = [
  {
    promise: 'is claimed where nobody holds it, again and again',
    steps: [
      ['claim', true],
      ['claim', true],
    ],
  },
  {
    promise: 'cannot be held once it is claimed',
    steps: [
      ['claim', true],
      ['hold', false],
      ['claim', true],
    ],
  },
  {
    promise: 'cannot be claimed while it is held, and tells when it can be',
    steps: [
      ['hold', true],
      ['claim', false],
      ['release', 'free'],
      ['claim', true],
    ],
  },
  {
    promise: 'says nothing when it is released and nobody waits',
    steps: [
      ['hold', true],
      ['release', 'nothing'],
      ['hold', true],
      ['release', 'nothing'],
      ['claim', true],
    ],
  },
  {
    promise: 'counts who holds it: the last release frees it',
    steps: [
      ['hold', true],
      ['hold', true],
      ['claim', false],
      ['release', 'nothing'],
      ['claim', false],
      ['release', 'free'],
      ['claim', true],
    ],
  },
  {
    promise: 'cannot be held by others from the first claim on, though that was refused',
    steps: [
      ['hold', true],
      ['claim', false],
      ['hold', false],
      ['release', 'free'],
      ['hold', false],
      ['claim', true],
      ['hold', false],
    ],
  },
];

describe('the gate before the end of a body', () => {
  for (const { promise, steps } of rows) {
    it(promise, () => {
      const gate = new EndGate();
      for (const [at, [step, expected]] of steps.entries()) {
        let freed = 0;
        gate.onFree = () => {
          freed += 1;
        };
        const told = gate[step]();
        const came = step === 'release' ? (freed > 0 ? 'free' : 'nothing') : told;
        assert.equal(came, expected, `step ${at + 1}: ${step}`);
        assert.ok(freed <= 1 && (step === 'release' || freed === 0), `step ${at + 1} was told too often`);
      }
    });
  }

  it('is one gate for all who share its word, as two threads do', () => {
    const word = new Int32Array(new SharedArrayBuffer(4));
    const [deleter, lane] = [new EndGate(word), new EndGate(word)];
    assert.equal(deleter.hold(), true);
    assert.equal(lane.claim(), false);
    let freed = false;
    deleter.onFree = () => {
      freed = true;
    };
    deleter.release();
    assert.equal(freed, true, 'whoever releases is told');
    assert.equal(lane.claim(), true);
    assert.equal(deleter.hold(), false);
  });
});
