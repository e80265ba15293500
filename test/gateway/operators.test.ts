import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { defaultConfig } from '../../src/config/load.ts';
import { type ImageApi, startImageApi } from '../../src/demo/image-api.ts';
import { eventually } from '../support/eventually.ts';
import type { RawClient } from '../support/raw-client.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';
import { testedLane } from '../support/tested-lane.ts';

const identity = ['X-User-Id: ann', 'X-Project-Id: blue'];

describe('what an operator does', () => {
  let api: ImageApi;
  let sluice: TestGateway;
  let client: RawClient;
  let image: string;

  const admin = (path: string, method = 'GET'): Promise<Response> =>
    fetch(`http://127.0.0.1:${sluice.adminPort}${path}`, { method });
  const create = async (): Promise<string> => {
    const answer = await fetch(`http://127.0.0.1:${sluice.port}/v2/images`, {
      method: 'POST',
      headers: { 'X-User-Id': 'ann', 'X-Project-Id': 'blue', 'Content-Type': 'application/json' },
      body: '{"disk_format":"raw","container_format":"bare"}',
    });
    return ((await answer.json()) as { id: string }).id;
  };

  beforeEach(async () => {
    api = await startImageApi({ port: 0 });
    sluice = await TestGateway.start(api.port, { shutdown_grace: '200ms' });
    image = await create();
    client = await sluice.client();
    await client.request(...uploadHead(image, 'Content-Length: 100'));
    await client.write(Buffer.alloc(40));
    await eventually(async () => (await sluice.uploads())[0]?.sent_bytes === 40, 'the upload is under way');
  });
  afterEach(async () => {
    await sluice.stop();
    await api.stop();
  });

  it('sees each upload with owner, lane and bytes, and the sum of what is reserved', async () => {
    const answer = (await (await admin('/uploads')).json()) as {
      uploads: Record<string, unknown>[];
      saving_bytes: number;
    };
    const [upload] = answer.uploads;
    const { id, started_at, ...rest } = upload ?? {};
    assert.match(String(id), /^[0-9a-f-]{36}$/);
    assert.equal(Number.isNaN(Date.parse(String(started_at))), false);
    assert.deepEqual(rest, {
      image,
      owner: { user: 'ann', project: 'blue' },
      lane: testedLane,
      declared_bytes: 100,
      received_bytes: 40,
      sent_bytes: 40,
      reserved_bytes: 100,
      client: '127.0.0.1',
      upstream: `127.0.0.1:${api.port}`,
      ending: null,
    });
    assert.equal(answer.saving_bytes, 100);
  });

  it('cancels one: its client reads 409, its bytes are back with the answer', async () => {
    const [upload] = await sluice.uploads();
    assert.equal(await sluice.cancel(upload?.id ?? ''), 204);
    assert.equal(sluice.gateway.savingBytes, 0);
    const answer = await client.response();
    assert.equal(answer.status, 409);
    assert.equal(JSON.parse(answer.body.toString()).code, 'cancelled');
    assert.equal(await sluice.cancel(randomUUID()), 404);
    await eventually(() => assert.equal(api.uploadsUnderWay(), 0), 'the upstream is let go');
  });

  it('asks for health and readiness', async () => {
    assert.equal((await admin('/healthz')).status, 200);
    assert.equal((await admin('/readyz')).status, 200);
    assert.equal((await admin('/nothing')).status, 404);
    assert.equal((await admin('/metrics', 'POST')).status, 405);
  });

  it('reloads: the upload under way keeps its configuration, the next one has the new', async () => {
    sluice.gateway.reload(
      defaultConfig({
        upstream: { servers: [api.url], health: { interval: 0 } },
        upload: { max_size: 50 },
      }),
    );
    const next = await sluice.client();
    await next.request(...uploadHead(await create(), 'Content-Length: 51'));
    assert.equal((await next.response()).status, 413);
    await client.write(Buffer.alloc(60));
    assert.equal((await client.response()).status, 204);
  });

  it('drains: the upload under way finishes, no connection is taken, readiness says no', async () => {
    const drained = sluice.gateway.drain();
    assert.equal((await admin('/readyz')).status, 503);
    await assert.rejects(sluice.client());
    await client.write(Buffer.alloc(60));
    const answer = await client.response();
    assert.equal(answer.status, 204);
    // the client does nothing: its connection is not kept for it
    await drained;
    assert.equal(sluice.gateway.savingBytes, 0);
  });

  it('drains: an upload that goes on after the grace ends as shutting-down', async () => {
    const drained = sluice.gateway.drain();
    const answer = await client.response();
    assert.equal(answer.status, 503);
    assert.equal(JSON.parse(answer.body.toString()).code, 'shutting-down');
    client.destroy();
    await drained;
    assert.equal(sluice.gateway.savingBytes, 0);
    await eventually(() => assert.equal(api.uploadsUnderWay(), 0), 'the upstream is let go');
  });

  it('is told by a problem document that a path is not spelt canonically, and nothing goes upstream', async () => {
    const before = api.requests().length;
    for (const [target, ...fields] of [
      [`/v2/images/${image}/%66ile`],
      [`/v2/images/${image}%2Ffile`],
      [`//v2/images/${image}/file`],
      [`/v2/images/./${image}/file`],
      [`/v2/images/${image.toUpperCase()}/file`],
      [`/v2/images/${image}?_method=DELETE`],
      [`/images/${image}/file`, 'Accept: application/vnd.openstack.images-v2.3'],
    ] as const) {
      const other = await sluice.client();
      await other.request(`PUT ${target} HTTP/1.1`, 'Host: x', ...identity, ...fields, 'Content-Length: 0');
      const answer = await other.response();
      assert.equal(answer.status, 400, target);
      assert.equal(answer.headers.get('content-type')?.join(), 'application/problem+json');
    }
    assert.equal(api.requests().length, before);
  });
});
