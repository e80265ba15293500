import assert from 'node:assert/strict';
import { ServerHealth } from '../../src/core/server-health.ts';

const rules = { ejectAfter: 3, ejectMs: 1000 };
const checks = { unhealthyAfter: 3, healthyAfter: 2 };

/** A server that failed at these times; the answers of each. */
const failing = (health: ServerHealth, ...timesMs: readonly number[]): boolean[] =>
  timesMs.map((nowMs) => health.failed(nowMs, rules));

describe('the health of a server', () => {
  it('is what the first check says', () => {
    const health = new ServerHealth(false);
    assert.equal(health.isHealthy(0), false);
    assert.equal(health.checked(true, checks), 'healthy');
    assert.equal(health.isHealthy(0), true);
  });

  it('needs healthyAfter successes once the first check has failed', () => {
    const health = new ServerHealth(false);
    assert.deepEqual(
      [false, true, true].map((well) => health.checked(well, checks)),
      [null, null, 'healthy'],
    );
  });

  it('is gone after unhealthyAfter failures in a row, not before, and not where one succeeds between', () => {
    const health = new ServerHealth(false);
    health.checked(true, checks);
    assert.deepEqual(
      [false, false, true, false, false, false].map((well) => health.checked(well, checks)),
      [null, null, null, null, null, 'unhealthy'],
    );
    assert.equal(health.isHealthy(0), false);
  });

  it('is good where nobody checks', () => {
    const health = new ServerHealth(false);
    health.unwatched();
    assert.equal(health.isHealthy(0), true);
  });
});

describe('an ejection', () => {
  it('comes with the third failure in a row, not with the second', () => {
    const health = new ServerHealth(true);
    assert.deepEqual(failing(health, 0, 1), [false, false]);
    assert.equal(health.isHealthy(1), true);
    assert.deepEqual(failing(health, 2), [true]);
    assert.equal(health.isHealthy(2), false);
  });

  it('does not come where an answer came between', () => {
    const health = new ServerHealth(true);
    failing(health, 0, 1);
    assert.equal(health.answered(), false);
    assert.deepEqual(failing(health, 2, 3), [false, false]);
  });

  it('counts failures that are ejectMs apart as in a row, and not those that are further apart', () => {
    assert.deepEqual(failing(new ServerHealth(true), 0, 1000, 2000), [false, false, true]);
    assert.deepEqual(failing(new ServerHealth(true), 0, 1001, 2001, 3001), [false, false, false, true]);
  });

  it('never comes where ejectAfter is 0', () => {
    const health = new ServerHealth(true);
    for (let nowMs = 0; nowMs < 9; nowMs += 1)
      assert.equal(health.failed(nowMs, { ...rules, ejectAfter: 0 }), false);
    assert.equal(health.isHealthy(9), true);
  });

  it('lasts ejectMs, and is followed by a probation that one failure ends', () => {
    const health = new ServerHealth(true);
    failing(health, 0, 0, 0);
    assert.deepEqual([health.isHealthy(999), health.isHealthy(1000)], [false, true]);
    assert.deepEqual(failing(health, 1500), [true]);
    assert.deepEqual([health.isHealthy(2499), health.isHealthy(2500)], [false, true]);
  });

  it('is not made longer by what has to be tried there all the same', () => {
    const health = new ServerHealth(true);
    failing(health, 0, 0, 0);
    assert.deepEqual(failing(health, 10, 20, 30), [false, false, false]);
    assert.equal(health.isHealthy(1000), true);
  });

  it('is ended by an answer, which leaves no probation', () => {
    const health = new ServerHealth(true);
    failing(health, 0, 0, 0);
    assert.equal(health.answered(), true);
    assert.equal(health.isHealthy(1), true);
    assert.deepEqual(failing(health, 2, 3), [false, false]);
  });

  it('is ended by a check that succeeds, and not by one that fails', () => {
    const health = new ServerHealth(true);
    failing(health, 0, 0, 0);
    assert.equal(health.checked(false, checks), null);
    assert.equal(health.isHealthy(1), false);
    assert.equal(health.checked(true, checks), 'returned');
    assert.equal(health.isHealthy(1), true);
  });
});
