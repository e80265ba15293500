import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { ann, type RunningGateway, startGateway } from '../support/running-gateway.ts';
import { type Staleness, StaleUpstream } from '../support/stale-upstream.ts';

const methods = ['GET', 'POST', 'HEAD', 'PATCH', 'OPTIONS', 'DELETE', 'PUT'];
const repeatable: readonly string[] = ['GET', 'HEAD', 'OPTIONS'];
const fates: readonly Staleness[] = ['with-answer', 'soon', 'fin-on-next', 'reset-on-next', 'stays'];

/** The same draws in every run (Numerical Recipes' generator). */
function draws(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state;
  };
}

describe('an upstream that closes connections that were used before', () => {
  let upstream: StaleUpstream;
  let gateway: RunningGateway;

  const start = async (draw: () => Staleness): Promise<void> => {
    upstream = await StaleUpstream.start(draw);
    gateway = await startGateway({
      upstream: { servers: [upstream.url], health: { interval: 0 } },
      quota: { usage: { source: 'none' } },
    });
  };
  const ask = async (method: string, path: string): Promise<number> => {
    const bodied = ['POST', 'PATCH', 'PUT'].includes(method);
    const answer = await fetch(`${gateway.url}${path}`, {
      method,
      headers: ann,
      ...(bodied && { body: 'abc' }),
    });
    await answer.arrayBuffer();
    return answer.status;
  };
  /** What was sent, sorted, against what was answered and what was heard. */
  const nothingLostOrTwice = (sent: readonly string[], statuses: readonly number[]): void => {
    assert.deepEqual(new Set(statuses), new Set([200]), 'all are answered');
    assert.deepEqual(upstream.answered.toSorted(), sent.toSorted());
    const twice = upstream.unanswered.filter((line) => !repeatable.includes(line.split(' ')[0] ?? ''));
    assert.deepEqual(twice, [], 'none of these was sent to a connection that was closed');
  };

  afterEach(async () => {
    await gateway.stop();
    await upstream.stop();
  });

  for (const fate of fates) {
    it(`(${fate}) costs no request of any method, and none is sent twice`, async () => {
      await start(() => fate);
      const sent = Array.from({ length: 21 }, (_, i) => `${methods[i % methods.length]} /v2/other/${i}`);
      const statuses: number[] = [];
      for (const line of sent) {
        const [method = '', path = ''] = line.split(' ');
        statuses.push(await ask(method, path));
      }
      nothingLostOrTwice(sent, statuses);
    });
  }

  for (const seed of [1, 2, 3]) {
    it(`costs none of 140 requests side by side, whatever becomes of their connections (seed ${seed})`, async () => {
      const draw = draws(seed);
      // the low bits of this generator are poor
      await start(() => fates[(draw() >>> 16) % fates.length] ?? 'stays');
      const sent = Array.from({ length: 140 }, (_, i) => `${methods[i % methods.length]} /v2/other/${i}`);
      const statuses: number[] = [];
      const waiting = sent.values();
      const work = async (): Promise<void> => {
        for (const line of waiting) {
          const [method = '', path = ''] = line.split(' ');
          statuses.push(await ask(method, path));
        }
      };
      await Promise.all(Array.from({ length: 5 }, work));
      nothingLostOrTwice(sent, statuses);
      assert.ok(upstream.unanswered.length > 0, 'connections that had waited were written to');
      const retries = await gateway.metric('sluice_upstream_retries_total{reason="stale"}');
      assert.ok(retries >= upstream.unanswered.length, `${retries} were sent again`);
    });
  }

  it('is not why connections are not kept: what may be sent twice goes over one', async () => {
    await start(() => 'stays');
    for (let i = 0; i < 9; i += 1) assert.equal(await ask('GET', `/v2/other/${i}`), 200);
    assert.equal(upstream.connections, 1);
  });

  it('has one connection to wait with after many requests that each had a new one', async () => {
    await start(() => 'stays');
    for (let i = 0; i < 9; i += 1) assert.equal(await ask('POST', `/v2/other/${i}`), 200);
    assert.equal(upstream.connections, 9);
    await eventually(() => assert.equal(upstream.open, 1));
    assert.equal(await ask('GET', '/v2/other/9'), 200);
    assert.equal(upstream.connections, 9);
  });

  it('costs a GET that breaks on a new connection too: it is not sent a third time', async () => {
    await start(() => 'stays');
    assert.equal(await ask('GET', '/v2/other/1'), 200);
    upstream.broken = true;
    assert.equal(await ask('GET', '/v2/other/2'), 502);
    assert.deepEqual(upstream.unanswered, ['GET /v2/other/2', 'GET /v2/other/2']);
    assert.equal(upstream.connections, 2);
    assert.equal(await ask('POST', '/v2/other/3'), 502);
    assert.equal(upstream.unanswered.length, 3);
  });
});
