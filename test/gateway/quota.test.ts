import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WrittenOptions } from '../../src/config/options.ts';
import { type ImageApi, startImageApi } from '../../src/demo/image-api.ts';
import { eventually } from '../support/eventually.ts';
import { TestGateway } from '../support/test-gateway.ts';

const who = { 'X-User-Id': 'ann', 'X-Project-Id': 'blue' };
const quota = 400_000;

describe('the quota', () => {
  let api: ImageApi;
  let sluice: TestGateway;
  const start = async (changes: WrittenOptions): Promise<void> => {
    sluice = await TestGateway.start(api.port, changes);
  };
  const url = (path: string): string => `http://127.0.0.1:${sluice.port}${path}`;
  const create = async (): Promise<string> => {
    const answer = await fetch(url('/v2/images'), {
      method: 'POST',
      headers: { ...who, 'Content-Type': 'application/json' },
      body: '{"disk_format":"raw","container_format":"bare"}',
    });
    const { id } = (await answer.json()) as { id: string };
    return id;
  };
  const put = (
    image: string,
    body: Buffer | ReadableStream,
    owner: Record<string, string> = who,
  ): Promise<Response> =>
    fetch(url(`/v2/images/${image}/file`), {
      method: 'PUT',
      headers: { ...owner, 'Content-Type': 'application/octet-stream' },
      body,
      ...(!Buffer.isBuffer(body) && { duplex: 'half' }),
    } as RequestInit);
  const puts = (): number => api.requests().filter(({ method }) => method === 'PUT').length;
  const metric = async (line: string): Promise<boolean> =>
    (await (await fetch(`http://127.0.0.1:${sluice.adminPort}/metrics`)).text()).includes(`${line}\n`);
  const perProject = (total: number, more: WrittenOptions['quota'] = {}): WrittenOptions => ({
    quota: { limits: [{ per: 'project', total }], usage: { source: 'glance', ttl: 300 }, ...more },
  });
  /** An upload that stays under way until `go` is called. */
  const heldUpload = async (image: string, bytes: number, user = 'ann') => {
    const client = await sluice.client();
    await client.request(
      `PUT /v2/images/${image}/file HTTP/1.1`,
      'Host: x',
      `X-User-Id: ${user}`,
      'X-Project-Id: blue',
      'Content-Type: application/octet-stream',
      `Content-Length: ${bytes}`,
    );
    await eventually(
      async () => (await sluice.uploads()).some((row) => row.image === image),
      'it is under way',
    );
    return async (): Promise<number> => {
      await client.write(Buffer.alloc(bytes));
      return (await client.response()).status;
    };
  };

  beforeEach(async () => {
    api = await startImageApi({ port: 0 });
  });
  afterEach(async () => {
    await sluice.stop();
    await api.stop();
  });

  it('lets exactly four of eight quarters in at once, and the others cost the API nothing', async () => {
    await start(perProject(quota));
    const images = await Promise.all(Array.from({ length: 8 }, create));
    const answers = await Promise.all(images.map((image) => put(image, Buffer.alloc(quota / 4))));
    assert.deepEqual(
      answers.map(({ status }) => status).toSorted(),
      [204, 204, 204, 204, 413, 413, 413, 413],
    );
    assert.equal(puts(), 4);
    assert.equal(api.storedBytes(), quota);
    assert.equal(sluice.gateway.savingBytes, 0);
  });

  for (const [word, bytes, status] of [
    ['under', quota - 1, 204],
    ['at', quota, 204],
    ['over', quota + 1, 413],
  ] as const) {
    it(`answers ${status} to an upload one byte or none ${word} the limit, whether its length is known or not`, async () => {
      await start(perProject(quota));
      const known = await create();
      assert.equal((await put(known, Buffer.alloc(bytes))).status, status);
      await fetch(url(`/v2/images/${known}`), { method: 'DELETE', headers: who });
      const stream = new ReadableStream({
        start(controller) {
          controller.enqueue(Buffer.alloc(bytes));
          controller.close();
        },
      });
      assert.equal((await put(await create(), stream)).status, status);
      assert.equal(api.storedBytes(), status === 204 ? bytes : 0);
    });
  }

  it('reads again before it says no: what was deleted since is free', async () => {
    await start(perProject(quota));
    const first = await create();
    assert.equal((await put(first, Buffer.alloc(quota))).status, 204);
    assert.equal((await put(await create(), Buffer.alloc(1))).status, 413);
    await fetch(url(`/v2/images/${first}`), { method: 'DELETE', headers: who });
    assert.equal((await put(await create(), Buffer.alloc(quota))).status, 204);
  });

  it('counts hidden images too', async () => {
    await start(perProject(quota));
    const hidden = await create();
    assert.equal((await put(hidden, Buffer.alloc(quota))).status, 204);
    const answer = await fetch(url(`/v2/images/${hidden}`), {
      method: 'PATCH',
      headers: { ...who, 'Content-Type': 'application/openstack-images-v2.1-json-patch' },
      body: '[{"op":"replace","path":"/os_hidden","value":true}]',
    });
    assert.equal(answer.status, 200);
    assert.equal((await put(await create(), Buffer.alloc(1))).status, 413);
  });

  it('bounds the bytes in flight of a user, and says that waiting helps', async () => {
    await start({ quota: { limits: [{ per: 'user', saving: 100 }], usage: { source: 'none' } } });
    const finish = await heldUpload(await create(), 60);
    const refused = await put(await create(), Buffer.alloc(41));
    assert.equal(refused.status, 413);
    assert.equal(refused.headers.has('retry-after'), true);
    assert.equal(((await refused.json()) as { code: string }).code, 'saving-exceeded');
    assert.equal((await put(await create(), Buffer.alloc(40))).status, 204);
    assert.equal(await finish(), 204);
    assert.equal((await put(await create(), Buffer.alloc(100))).status, 204);
  });

  it('tells with 429 how many uploads may be under way at once', async () => {
    await start({ quota: { limits: [{ per: 'user', uploads: 1 }], usage: { source: 'none' } } });
    const first = await create();
    const second = await create();
    const finish = await heldUpload(first, 10);
    const refused = await put(second, Buffer.alloc(1));
    assert.equal(refused.status, 429);
    assert.equal(refused.headers.get('ratelimit'), '"uploads";r=0');
    assert.equal(refused.headers.get('ratelimit-policy'), '"uploads";q=1;qu="concurrent-requests"');
    assert.equal(refused.headers.get('retry-after'), '5');
    assert.equal(await finish(), 204);
  });

  it('bounds the uploads at once of a user with 429, and not those of another', async () => {
    await start({ quota: { limits: [{ per: 'user', uploads: 1 }], usage: { source: 'none' } } });
    const finish = await heldUpload(await create(), 10);
    const refused = await put(await create(), Buffer.alloc(1));
    assert.equal(refused.status, 429);
    assert.equal(refused.headers.has('retry-after'), true);
    assert.equal((await put(await create(), Buffer.alloc(1), { ...who, 'X-User-Id': 'bob' })).status, 204);
    assert.equal(await finish(), 204);
    assert.equal((await put(await create(), Buffer.alloc(1))).status, 204);
  });

  it('follows an override of the account', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-quota-'));
    try {
      const file = join(folder, 'quotas.yaml');
      writeFileSync(file, 'blue: { total: 10 }\n');
      await start(perProject(quota, { overrides: file }));
      assert.equal((await put(await create(), Buffer.alloc(11))).status, 413);
      assert.equal((await put(await create(), Buffer.alloc(10))).status, 204);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('only says so in mode log, also for a body that grows over it', async () => {
    await start({ ...perProject(10, { mode: 'log' }), upload: { chunk_size: '64KiB' } });
    assert.equal((await put(await create(), Buffer.alloc(11))).status, 204);
    assert.equal(await metric('sluice_quota_refusals_total{limit="total",mode="log"} 1'), true);
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue(Buffer.alloc(200_000));
        controller.close();
      },
    });
    assert.equal((await put(await create(), stream)).status, 204);
    assert.equal(api.storedBytes(), 200_011);
    assert.equal(sluice.gateway.savingBytes, 0);
  });

  it('does not exist in mode off', async () => {
    await start(perProject(10, { mode: 'off' }));
    assert.equal((await put(await create(), Buffer.alloc(1000))).status, 204);
    assert.equal(await metric('sluice_usage_readings_total{outcome="read"} 1'), false);
  });

  it('refuses before 100 Continue, and takes not a byte of the body', async () => {
    await start(perProject(quota));
    const client = await sluice.client();
    await client.request(
      `PUT /v2/images/${await create()}/file HTTP/1.1`,
      'Host: x',
      'X-User-Id: ann',
      'X-Project-Id: blue',
      'Content-Type: application/octet-stream',
      `Content-Length: ${quota + 1}`,
      'Expect: 100-continue',
    );
    const answer = await client.response();
    assert.equal(answer.status, 413);
    assert.deepEqual(answer.informational, []);
    assert.equal(puts(), 0);
  });

  it('is not guessed at: no upload while the API does not say what is stored', async () => {
    await start(perProject(quota));
    const image = await create();
    await api.stop();
    const answer = await put(image, Buffer.alloc(1));
    assert.equal(answer.status, 503);
    assert.equal(((await answer.json()) as { code: string }).code, 'usage-unavailable');
    assert.equal(answer.headers.has('retry-after'), true);
  });
});
