import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import type { RawClient } from '../support/raw-client.ts';
import { codeOf, type Stage, startStage, testConfig } from '../support/running-gateway.ts';
import { testedLane } from '../support/tested-lane.ts';

describe('the admin listener', () => {
  let stage: Stage;
  afterEach(() => stage.stop());

  const status = async (path: string, method = 'GET'): Promise<number> => {
    const response = await fetch(`${stage.gateway.adminUrl}${path}`, { method });
    await response.arrayBuffer();
    return response.status;
  };

  it('answers what it has, 405 to other methods and 404 to anything else', async () => {
    stage = await startStage();
    await eventually(async () => (await status('/readyz')) === 200, 'ready');
    for (const path of ['/healthz', '/readyz', '/uploads', '/metrics']) {
      assert.equal(await status(path), 200, path);
      assert.equal(await status(path, 'POST'), 405, path);
    }
    assert.equal(await status('/'), 404);
    assert.equal(await status('/uploads/6d1b3c1e-2f9e-4f43-9a55-0e9a0d1f7c11', 'DELETE'), 404);
  });

  it('shows an upload while it runs, in /uploads and in the metrics', async () => {
    stage = await startStage();
    const { gateway, api } = stage;
    const image = await gateway.create();
    assert.deepEqual(await gateway.uploads(), { uploads: [], saving_bytes: 0 });
    const client = await gateway.uploading(image, ['Content-Length: 1000']);
    await client.write(Buffer.alloc(400));
    const row = await eventually(async () => {
      const [upload] = (await gateway.uploads()).uploads;
      return upload?.sent_bytes === 400 ? upload : null;
    }, 'the bytes are shown');
    const { id, started_at, client: address, ...rest } = row;
    assert.match(id, /^[0-9a-f-]{36}$/);
    assert.match(address, /127\.0\.0\.1/);
    assert.equal(Date.parse(started_at) <= Date.now(), true, 'it began before now');
    assert.deepEqual(rest, {
      image,
      owner: { user: 'ann', project: 'blue' },
      lane: testedLane,
      declared_bytes: 1000,
      received_bytes: 400,
      sent_bytes: 400,
      reserved_bytes: 1000,
      upstream: `127.0.0.1:${api.port}`,
      ending: null,
    });
    assert.equal((await gateway.uploads()).saving_bytes, 1000);
    assert.equal(await gateway.metric('sluice_saving_bytes'), 1000);
    assert.equal(await gateway.metric('sluice_uploads_in_flight'), 1);
    await client.write(Buffer.alloc(600));
    assert.equal((await client.response()).status, 204);
    await eventually(async () => (await gateway.metric('sluice_uploads_total{ending="stored"}')) === 1);
    assert.deepEqual(await gateway.uploads(), { uploads: [], saving_bytes: 0 });
    assert.equal(await gateway.metric('sluice_saving_bytes'), 0);
    assert.equal(await gateway.metric('sluice_uploads_in_flight'), 0);
    assert.equal(await gateway.metric('sluice_upload_bytes_total{leg="client"}'), 1000);
    assert.equal(await gateway.metric('sluice_upload_bytes_total{leg="upstream"}'), 1000);
  });

  it('is not ready while the upstream is down, and healthy all the same', async () => {
    stage = await startStage();
    const { api, gateway } = stage;
    gateway.gateway.reload(
      testConfig({ upstream: { servers: [api.url], health: { interval: '20ms', unhealthy_after: 2 } } }),
    );
    await eventually(async () => (await status('/readyz')) === 200, 'ready');
    const series = `sluice_upstream_healthy{server="${new URL(api.url).host}"}`;
    assert.equal(await gateway.metric(series), 1);
    await api.stop();
    await eventually(async () => (await status('/readyz')) === 503, 'not ready');
    assert.equal(await status('/healthz'), 200);
    assert.equal(await gateway.metric(series), 0);
  });
});

describe('a reload', () => {
  let stage: Stage;
  afterEach(() => stage.stop());

  it('leaves a running upload its limits, and gives the new ones to new uploads', async () => {
    stage = await startStage();
    const { gateway, api } = stage;
    const running = await gateway.uploading(await gateway.create(), ['Transfer-Encoding: chunked']);
    await eventually(() => api.uploadsUnderWay() === 1);
    gateway.gateway.reload(testConfig({ upstream: { servers: [api.url] }, upload: { max_size: 10 } }));
    await running.chunk('more than ten bytes');
    await running.chunk('');
    assert.equal((await running.response()).status, 204);
    assert.equal((await gateway.put(await gateway.create(), 11)).code, 'too-large');
    assert.equal((await gateway.put(await gateway.create(), 10)).status, 204);
    assert.equal(await gateway.metric('sluice_config_last_reload_success'), 1);
  });

  it('that failed is shown', async () => {
    stage = await startStage();
    stage.gateway.gateway.reloadFailed();
    assert.equal(await stage.gateway.metric('sluice_config_last_reload_success'), 0);
  });
});

describe('a drain', () => {
  let stage: Stage;
  afterEach(() => stage.stop());

  const begin = async (grace: string): Promise<RawClient> => {
    stage = await startStage({ shutdown_grace: grace });
    const client = await stage.gateway.uploading(await stage.gateway.create(), ['Content-Length: 2']);
    await client.write('x');
    await eventually(() => stage.api.uploadsUnderWay() === 1);
    return client;
  };

  it('lets the running upload finish, takes no connection and is not ready', async () => {
    const running = await begin('60s');
    const { gateway, api } = stage;
    const drained = gateway.gateway.drain();
    await assert.rejects(gateway.client(), { code: 'ECONNREFUSED' });
    assert.equal((await fetch(`${gateway.adminUrl}/readyz`)).status, 503);
    assert.equal((await fetch(`${gateway.adminUrl}/healthz`)).status, 200);
    assert.equal((await gateway.uploads()).uploads.length, 1);
    await running.write('x');
    const answer = await running.response();
    assert.equal(answer.status, 204);
    running.destroy();
    await drained;
    assert.equal(api.storedBytes(), 2);
  });

  it('ends what runs when the grace is over: 503 shutting-down', async () => {
    const running = await begin('50ms');
    const drained = stage.gateway.gateway.drain();
    const answer = await running.response();
    assert.equal(answer.status, 503);
    assert.equal(codeOf(answer.body), 'shutting-down');
    assert.deepEqual(answer.headers.get('retry-after'), ['5']);
    running.end();
    await drained;
    assert.equal(stage.gateway.gateway.savingBytes, 0);
    await eventually(() => stage.api.uploadsUnderWay() === 0, 'the API is let go of');
  });
});
