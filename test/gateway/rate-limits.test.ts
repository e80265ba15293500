import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { WrittenOptions } from '../../src/config/options.ts';
import { eventually } from '../support/eventually.ts';
import type { RawResponse } from '../support/raw-client.ts';
import {
  ann,
  codeOf,
  type Headers,
  type Stage,
  startStage,
  testConfig,
  uploadHead,
  uploadsSeen,
} from '../support/running-gateway.ts';

type Rule = NonNullable<WrittenOptions['rate_limits']>[number];
const bob = { 'X-User-Id': 'bob', 'X-Project-Id': 'blue' };
const carol = { 'X-User-Id': 'ann', 'X-Project-Id': 'red' };
const image = '/v2/images/71c675ab-d94f-49cd-a114-e12490b328d9';

describe('a limit of requests', () => {
  let stage: Stage;
  afterEach(() => stage.stop());

  const start = async (rules: Rule[], changes: WrittenOptions = {}): Promise<void> => {
    stage = await startStage({ rate_limits: rules, trusted_proxies: ['127.0.0.1'], ...changes });
  };
  const ask = async (line: string, who: Headers = {}, ...fields: readonly string[]): Promise<RawResponse> => {
    const client = await stage.gateway.client();
    const identity = Object.entries(who).map(([name, value]) => `${name}: ${value}`);
    await client.request(`${line} HTTP/1.1`, 'Host: images', ...identity, ...fields);
    const answer = await client.response();
    client.destroy();
    return answer;
  };
  /** Creates an image. */
  const create = async (who: Headers = ann, address = '192.0.2.1'): Promise<RawResponse> => {
    const client = await stage.gateway.client();
    const body = '{"disk_format":"raw","container_format":"bare"}';
    await client.request(
      'POST /v2/images HTTP/1.1',
      'Host: images',
      'Content-Type: application/json',
      `Content-Length: ${body.length}`,
      `X-Forwarded-For: ${address}`,
      ...Object.entries(who).map(([name, value]) => `${name}: ${value}`),
    );
    await client.write(body);
    const answer = await client.response();
    client.destroy();
    return answer;
  };
  const statuses = async (asks: (() => Promise<RawResponse>)[]): Promise<number[]> => {
    const all: number[] = [];
    for (const each of asks) all.push((await each()).status);
    return all;
  };
  const field = ({ headers }: RawResponse, name: string): string | undefined => headers.get(name)?.join();

  const rule: Rule = { action: 'create', per: 'project', requests: 3, interval: '60s' };

  it('lets requests through under and at it, and refuses the one over it with 429', async () => {
    await start([rule]);
    const answers = [await create(), await create(), await create(), await create()];
    assert.deepEqual(
      answers.map(({ status }) => status),
      [201, 201, 201, 429],
    );
    const refused = answers[3];
    assert.equal(codeOf(refused?.body ?? Buffer.alloc(0)), 'rate-exceeded');
    assert.equal(await stage.gateway.metric('sluice_rate_refusals_total{action="create",per="project"}'), 1);
    const created = stage.api.requests().filter(({ method }) => method === 'POST');
    assert.equal(created.length, 3);
  });

  it('tells in every answer what is left, and in a refusal how long to wait', async () => {
    await start([rule]);
    const answers = [await create(), await create(), await create(), await create()];
    for (const [index, answer] of answers.entries()) {
      assert.equal(field(answer, 'ratelimit-policy'), '"create";q=3;w=60');
      assert.match(
        field(answer, 'ratelimit') ?? '',
        new RegExp(`^"create";r=${Math.max(0, 2 - index)};t=(?:60|5\\d)$`),
      );
    }
    assert.match(answers[3]?.headers.get('retry-after')?.join() ?? '', /^(?:60|5\d)$/);
    assert.equal(answers[0]?.headers.has('retry-after'), false);
  });

  it('tells it with uploads and with answers of its own too', async () => {
    await start([{ action: 'upload', per: 'user', requests: 9, interval: '60s' }], {
      upload: { max_size: 5 },
    });
    const id = await stage.gateway.create();
    for (const [bytes, status] of [
      [6, 413],
      [5, 204],
    ] as const) {
      const client = await stage.gateway.uploading(id, [`Content-Length: ${bytes}`]);
      await client.write('x'.repeat(bytes));
      const answer = await client.response();
      assert.equal(answer.status, status);
      assert.equal(field(answer, 'ratelimit-policy'), '"upload";q=9;w=60');
    }
  });

  it('says nothing in answers to what it does not limit', async () => {
    await start([rule]);
    const answer = await ask('GET /v2/images', ann);
    assert.equal(answer.headers.has('ratelimit'), false);
  });

  it('per project counts the users of a project together, and another project apart', async () => {
    await start([{ ...rule, requests: 2 }]);
    assert.deepEqual(
      await statuses([() => create(ann), () => create(bob), () => create(bob), () => create(carol)]),
      [201, 201, 429, 201],
    );
  });

  it('per user counts a user in all projects, and another user apart', async () => {
    await start([{ ...rule, per: 'user', requests: 2 }]);
    assert.deepEqual(
      await statuses([() => create(ann), () => create(carol), () => create(ann), () => create(bob)]),
      [201, 201, 429, 201],
    );
  });

  it('per address counts whoever comes from it, and another address apart', async () => {
    await start([{ ...rule, per: 'address', requests: 2 }]);
    assert.deepEqual(
      await statuses([
        () => create(ann, '192.0.2.1'),
        () => create(bob, '192.0.2.1'),
        () => create(carol, '192.0.2.1'),
        () => create(ann, '192.0.2.2'),
      ]),
      [201, 201, 429, 201],
    );
  });

  it('per address counts a whole /64 of IPv6, and the next one apart', async () => {
    await start([{ ...rule, per: 'address', requests: 2 }]);
    assert.deepEqual(
      await statuses([
        () => create(ann, '2001:db8::1'),
        () => create(ann, '2001:db8:0:0:ffff::2'),
        () => create(ann, '2001:db8::3'),
        () => create(ann, '2001:db8:0:1::1'),
      ]),
      [201, 201, 429, 201],
    );
  });

  it('per address does not believe X-Forwarded-For of whoever sends it', async () => {
    await start([{ ...rule, per: 'address', requests: 2 }], { trusted_proxies: [] });
    assert.deepEqual(
      await statuses([
        () => create(ann, '1.1.1.1'),
        () => create(ann, '2.2.2.2'),
        () => create(ann, '3.3.3.3'),
      ]),
      [201, 201, 429],
    );
  });

  it('per address is looked at before identity: who has none is refused by it all the same', async () => {
    await start([{ action: 'upload', per: 'address', requests: 1, interval: '60s' }], {
      identity: { headers: { trusted_from: [] } },
    });
    assert.deepEqual(
      await statuses([
        () => ask(`PUT ${image}/file`, ann, 'Content-Length: 0'),
        () => ask(`PUT ${image}/file`, ann, 'Content-Length: 0'),
      ]),
      [401, 429],
    );
  });

  it('gives requests back when its interval ends', async () => {
    await start([{ ...rule, requests: 1, interval: '300ms' }]);
    assert.deepEqual(await statuses([create, create]), [201, 429]);
    await eventually(async () => (await create()).status === 201, 'the interval ends');
  });

  it('refuses an upload before a byte of its body is asked for', async () => {
    await start([{ action: 'upload', per: 'user', requests: 1, interval: '60s' }]);
    const { gateway, api } = stage;
    assert.equal((await gateway.put(await gateway.create(), 1)).status, 204);
    const client = await gateway.client();
    const id = await gateway.create();
    await client.request(...uploadHead(id, ['Content-Length: 5', 'Expect: 100-continue']));
    const answer = await client.response();
    assert.deepEqual([answer.status, answer.informational], [429, []]);
    assert.equal(uploadsSeen(api), 1);
    assert.equal(gateway.gateway.savingBytes, 0);
  });

  it('of any action counts all of them, uploads too, beside a limit of one of them', async () => {
    await start([
      { action: 'any', per: 'address', requests: 3, interval: '60s' },
      { ...rule, requests: 1 },
    ]);
    const { gateway } = stage;
    const id = await gateway.create();
    const second = await create(ann, '127.0.0.1');
    assert.equal(second.status, 429);
    assert.match(field(second, 'ratelimit') ?? '', /^"create";r=0;t=\d+,"any";r=1;t=\d+$/);
    assert.equal((await gateway.put(id, 1)).status, 204);
    assert.equal((await ask('GET /healthcheck')).status, 429);
  });

  it('does not stop a browser from asking whether it may ask, by any rule', async () => {
    await start([
      { action: 'any', per: 'address', requests: 1, interval: '60s' },
      { action: 'any', per: 'user', requests: 1, interval: '60s' },
    ]);
    const preflight = ['Origin: http://horizon', 'Access-Control-Request-Method: PUT'];
    for (let i = 0; i < 3; i += 1) {
      const answer = await ask(`OPTIONS ${image}/file`, {}, ...preflight);
      assert.notEqual(answer.status, 429);
      assert.notEqual(codeOf(answer.body), 'identity-missing');
      assert.equal(answer.headers.has('ratelimit'), false);
    }
    // whose it is does not even matter: this is no identity
    const odd = await ask(`OPTIONS ${image}/file`, { 'X-User-Id': 'a,b', 'X-Project-Id': 'c' }, ...preflight);
    assert.notEqual(codeOf(odd.body), 'header-invalid');
    assert.notEqual((await ask(`OPTIONS ${image}/file`, {}, 'Origin: http://horizon')).status, 429);
    assert.equal((await ask(`OPTIONS ${image}/file`, {}, 'Origin: http://horizon')).status, 429);
  });

  it('per project does not count who says not who they are, and leaves them to the API', async () => {
    await start([{ action: 'any', per: 'project', requests: 1, interval: '60s' }]);
    assert.deepEqual(
      await statuses([
        () => ask('GET /healthcheck'),
        () => ask('GET /healthcheck'),
        () => ask('GET /v2/images'),
        () => ask('GET /v2/images', ann),
        () => ask('GET /v2/images', ann),
      ]),
      [200, 200, 401, 200, 429],
    );
  });

  it('keeps its count over a reload where it stays as it was, and begins anew where it does not', async () => {
    const kept: Rule = { ...rule, requests: 1 };
    const changed: Rule = { action: 'pass', per: 'user', requests: 1, interval: '60s' };
    await start([kept, changed]);
    const list = () => ask('GET /v2/images', ann);
    assert.deepEqual(await statuses([create, create, list, list]), [201, 429, 200, 429]);
    const upstream = { servers: [stage.api.url] };
    stage.gateway.gateway.reload(testConfig({ upstream, rate_limits: [{ ...changed, requests: 2 }, kept] }));
    assert.deepEqual(await statuses([create, list, list, list]), [429, 200, 200, 429]);
  });

  it('does not keep the process alive', async () => {
    await start([]);
    const script = `
      import { RateLimits } from ${JSON.stringify(fileURLToPath(new URL('../../src/rate-limits.ts', import.meta.url)))};
      const limits = new RateLimits([{ action: 'any', per: 'address', requests: 1, intervalMs: 3600000 }], () => {});
      await limits.byAddress({ request: { method: 'GET' }, headers: [], answerFields: [] }, 'pass', '192.0.2.1');
      console.log('counted');
    `;
    const { stdout, status } = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', script],
      { encoding: 'utf8', timeout: 15_000, cwd: fileURLToPath(new URL('../../', import.meta.url)) },
    );
    assert.deepEqual([stdout, status], ['counted\n', 0]);
  });
});
