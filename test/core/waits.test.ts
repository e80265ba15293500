import assert from 'node:assert/strict';
import { Waits } from '../../src/core/waits.ts';

describe('the waits of an upload', () => {
  it('are the client’s from the beginning', () => {
    const waits = new Waits(100);
    assert.equal(waits.awaited, 'client');
    assert.deepEqual(
      [waits.ofMs('client', 130), waits.ofMs('upstream', 130), waits.ofMs('gateway', 130)],
      [30, 0, 0],
    );
  });

  it('are one party’s at a time, and add up to the time that has passed', () => {
    const waits = new Waits(0);
    waits.turnTo('upstream', 10);
    waits.turnTo('client', 30);
    waits.turnTo('gateway', 60);
    waits.turnTo('upstream', 100);
    assert.equal(waits.awaited, 'upstream');
    const of = (nowMs: number) =>
      (['client', 'upstream', 'gateway'] as const).map((each) => waits.ofMs(each, nowMs));
    assert.deepEqual(of(100), [40, 20, 40]);
    assert.deepEqual(of(150), [40, 70, 40]);
  });

  it('go on when turned to whom they are for already', () => {
    const waits = new Waits(0);
    waits.turnTo('client', 10);
    assert.equal(waits.ofMs('client', 25), 25);
  });
});
