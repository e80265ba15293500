import assert from 'node:assert/strict';
import { judge, type Measured, type RatioPromise } from '../../nginx-compare/promises.ts';

const atMost: RatioPromise = {
  text: 'uploads',
  workload: 'uploads',
  figure: 'cpu',
  peer: 'peer',
  bound: { atMost: 0.5 },
};
const atLeast: RatioPromise = { ...atMost, bound: { atLeast: 2 } };

/** A run with these figures, of Sluice and of its peer. */
const run = (own: number[], theirs: number[], failure: string | null = null): Measured[] => [
  {
    workload: 'uploads',
    rows: [
      { contender: 'sluice', figures: { cpu: own }, failure },
      { contender: 'peer', figures: { cpu: theirs }, failure: null },
    ],
  },
];
const five = (figure: number): number[] => Array.from({ length: 5 }, () => figure);
const outcome = (promise: RatioPromise, measured: Measured[]) => judge([promise], measured)[0]?.outcome;

describe('A promise of a ratio', () => {
  it('of at most so much is met under it and at it, and missed over it', () => {
    assert.equal(outcome(atMost, run(five(49), five(100))), 'met');
    assert.equal(outcome(atMost, run(five(50), five(100))), 'met');
    assert.equal(outcome(atMost, run(five(51), five(100))), 'missed');
  });

  it('of at least so much is missed under it, and met at it and over it', () => {
    assert.equal(outcome(atLeast, run(five(199), five(100))), 'missed');
    assert.equal(outcome(atLeast, run(five(200), five(100))), 'met');
    assert.equal(outcome(atLeast, run(five(201), five(100))), 'met');
  });

  it('is judged by medians, not by the best or the worst round', () => {
    const [verdict] = judge([atMost], run([1, 1, 40, 900, 900], [0.1, 0.1, 100, 100, 900]));
    assert.equal(verdict?.ratio, 0.4);
    assert.equal(verdict?.outcome, 'met');
  });

  it('is not decided by fewer than five rounds of either', () => {
    assert.equal(outcome(atMost, run([1, 1, 1, 1], five(100))), 'too few rounds');
    assert.equal(outcome(atMost, run(five(1), [100, 100, 100, 100])), 'too few rounds');
  });

  it('shows the ratio to another beside, which decides nothing', () => {
    const beside = { contender: 'other', figures: { cpu: [10] }, failure: null };
    const measured = run(five(49), five(100)).map((each) => ({ ...each, rows: [...each.rows, beside] }));
    const [verdict] = judge([{ ...atMost, beside: 'other' }], measured);
    assert.equal(verdict?.besideRatio, 4.9);
    assert.equal(verdict?.outcome, 'met');
  });

  it('is not met by what was not measured or failed', () => {
    assert.equal(outcome(atMost, []), 'not measured');
    assert.equal(outcome(atMost, run([], five(100))), 'not measured');
    assert.equal(outcome(atMost, run(five(1), five(100), 'bytes were lost')), 'not measured');
    assert.equal(outcome({ ...atMost, peer: 'nobody' }, run(five(1), five(100))), 'not measured');
  });
});
