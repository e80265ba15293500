import assert from 'node:assert/strict';
import { GatewayError } from '../../src/core/errors.ts';
import { MemoryLedger } from '../../src/ledger/memory.ts';
import { RememberedLimits } from '../../src/limits/remembered.ts';
import { Readings } from '../../src/usage/readings.ts';
import { sharedOrOwn } from '../../src/usage/shared-answer.ts';
import type { Caller } from '../../src/usage/usage.ts';

const bad: Caller = { headers: ['X-Auth-Token', 'bad'], project: 'blue' };
const good: Caller = { headers: ['X-Auth-Token', 'good'], project: 'blue' };
const answerFor = async <T>({ headers }: Caller, answer: T): Promise<T> => {
  await new Promise((resolve) => setImmediate(resolve));
  if (headers[1] === 'bad') throw new GatewayError('credentials-refused', 'The API answered 401.');
  return answer;
};
const isRefused = (error: unknown): boolean =>
  error instanceof GatewayError && error.code === 'credentials-refused';

describe('a question that many uploads share', () => {
  it('is asked once', async () => {
    let asked = 0;
    const ledger = new MemoryLedger(() => 0);
    const source = {
      storedBytes: (_project: string, caller: Caller) => {
        asked += 1;
        return answerFor(caller, 7);
      },
    };
    const readings = new Readings(source, ledger, () => {});
    await Promise.all(Array.from({ length: 9 }, () => readings.ensure('project:blue', 'blue', good, 1000)));
    assert.equal(asked, 1);
  });

  it('of stored bytes is asked again by whoever has a good token, if it was a bad one that asked', async () => {
    const ledger = new MemoryLedger(() => 0);
    const readings = new Readings({ storedBytes: (_, caller) => answerFor(caller, 7) }, ledger, () => {});
    const first = readings.ensure('project:blue', 'blue', bad, 1000);
    const second = readings.ensure('project:blue', 'blue', good, 1000);
    await assert.rejects(first, isRefused);
    await second;
    const firstFresh = readings.refresh('project:blue', 'blue', bad);
    const others = [bad, good, good].map((caller) => readings.refresh('project:blue', 'blue', caller));
    await assert.rejects(firstFresh, isRefused);
    const settled = await Promise.allSettled(others);
    assert.deepEqual(
      settled.map(({ status }) => status),
      ['rejected', 'fulfilled', 'fulfilled'],
    );
  });

  it('of limits is asked again by whoever has a good token', async () => {
    const source = {
      limitsOf: (_project: string, caller: Caller) => answerFor(caller, { totalBytes: 5, uploads: 1 }),
    };
    const limits = new RememberedLimits(source, 1000, () => 0);
    const first = limits.limitsOf('blue', bad);
    const second = limits.limitsOf('blue', good);
    await assert.rejects(first, isRefused);
    assert.deepEqual(await second, { totalBytes: 5, uploads: 1 });
  });

  it('is not asked again where the answer failed for another reason', async () => {
    let own = 0;
    const failed = Promise.reject(new GatewayError('usage-unavailable', 'x'));
    const asked = sharedOrOwn(failed, async () => {
      own += 1;
    });
    await assert.rejects(
      asked,
      (error) => error instanceof GatewayError && error.code === 'usage-unavailable',
    );
    assert.equal(own, 0);
  });
});
