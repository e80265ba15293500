import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../support/eventually.ts';
import { RawClient } from '../support/raw-client.ts';
import { codeOf, type Stage, startStage, testConfig } from '../support/running-gateway.ts';

const timeoutMs = 300;

describe('client_socket_timeout', () => {
  let stage: Stage;
  afterEach(() => stage.stop());

  for (const [framing, field] of [
    ['known', 'Content-Length: 1000'],
    ['unknown', 'Transfer-Encoding: chunked'],
  ] as const) {
    it(`ends a silent upload of ${framing} length: 408, the upstream is aborted, its bytes come back`, async () => {
      stage = await startStage({ client_socket_timeout: `${timeoutMs}ms`, upload: { flush_after: '10ms' } });
      const { gateway, api } = stage;
      const client = await gateway.uploading(await gateway.create(), [field]);
      if (framing === 'known') await client.write('x');
      else await client.chunk('x');
      await eventually(() => api.uploadsUnderWay() === 1, 'the upload reaches the API');
      const answer = await client.response();
      assert.equal(answer.status, 408);
      assert.equal(codeOf(answer.body), 'client-stalled');
      assert.deepEqual(answer.headers.get('connection'), ['close']);
      await eventually(() => api.uploadsUnderWay() === 0, 'the API is let go of');
      assert.equal(gateway.gateway.savingBytes, 0);
      assert.equal(await gateway.metric('sluice_uploads_total{ending="client-stalled"}'), 1);
    });
  }

  it('is re-armed by any byte: a slow upload lives for more than three timeouts', async () => {
    stage = await startStage({ client_socket_timeout: '500ms' });
    const { gateway } = stage;
    const image = await gateway.create();
    const pieces = 20;
    const client = await gateway.uploading(image, [`Content-Length: ${pieces}`]);
    const beganMs = performance.now();
    for (let i = 0; i < pieces; i += 1) {
      await sleep(100);
      await client.write('x');
    }
    assert.equal(performance.now() - beganMs > 3 * 500, true, 'the upload took more than three timeouts');
    assert.equal((await client.response()).status, 204);
    assert.equal((await gateway.image(image)).size, pieces);
  });

  it('closes an idle connection without a byte, fresh or between two requests', async () => {
    stage = await startStage({ client_socket_timeout: `${timeoutMs}ms` });
    const fresh = await stage.gateway.client();
    const used = await stage.gateway.client();
    await used.request('GET /healthcheck HTTP/1.1', 'Host: x');
    assert.equal((await used.response()).status, 200);
    assert.notEqual(await fresh.closed, 'local');
    assert.notEqual(await used.closed, 'local');
    assert.equal(fresh.unread.length + used.unread.length, 0);
  });

  it('0 = for ever: what is silent is kept while others come and go', async () => {
    stage = await startStage({ client_socket_timeout: 0 });
    const { gateway } = stage;
    const image = await gateway.create();
    const idle = await gateway.client();
    const silent = await gateway.uploading(image, ['Content-Length: 2']);
    await silent.write('x');
    await eventually(() => gateway.gateway.uploadsUnderWay === 1);
    for (let i = 0; i < 5; i += 1) {
      await sleep(100);
      await gateway.create();
    }
    await silent.write('x');
    assert.equal((await silent.response()).status, 204);
    await idle.request('GET /healthcheck HTTP/1.1', 'Host: x');
    assert.equal((await idle.response()).status, 200);
  });
});

describe('client_header_timeout', () => {
  let stage: Stage;
  afterEach(() => stage.stop());

  it('answers half a head with 408 and closes', async () => {
    stage = await startStage({ client_header_timeout: `${timeoutMs}ms` });
    const client = await stage.gateway.client();
    await client.write('GET /v2/images HTTP/1.1\r\nHost: x\r\n');
    const answer = await client.response();
    assert.equal(answer.status, 408);
    assert.equal(codeOf(answer.body), 'header-timeout');
    assert.deepEqual(answer.headers.get('connection'), ['close']);
    assert.notEqual(await client.closed, 'local');
  });

  it('does not cover the body', async () => {
    stage = await startStage({ client_header_timeout: `${timeoutMs}ms` });
    const { gateway } = stage;
    const client = await gateway.uploading(await gateway.create(), ['Content-Length: 2']);
    await client.write('x');
    const half = await gateway.client();
    await half.write('GET /v2/images HTTP/1.1\r\nHost: x\r\n');
    // by the time that this younger connection is ended, an older limit on the body would have struck
    assert.equal((await half.response()).status, 408);
    await client.write('x');
    assert.equal((await client.response()).status, 204);
  });
});

describe('max_connections', () => {
  let stage: Stage;
  afterEach(() => stage.stop());

  it('serves at the limit and tells one over', async () => {
    stage = await startStage({ max_connections: 2 });
    const { gateway } = stage;
    const first = await gateway.client();
    const second = await gateway.client();
    for (const client of [first, second]) await client.write('GET /healthcheck HTTP/1.1\r\n');
    await eventually(async () => assert.equal(await gateway.metric('sluice_connections'), 2));
    const third = await gateway.client();
    const { status, headers, body } = await third.response();
    assert.deepEqual([status, codeOf(body), headers.get('connection')], [503, 'overloaded', ['close']]);
    assert.deepEqual(headers.get('retry-after'), ['5']);
    assert.equal(await third.closed, 'fin');
    assert.equal(await gateway.metric('sluice_overload_refusals_total{bound="connections"}'), 1);
    await first.write('Host: x\r\n\r\n');
    assert.equal((await first.response()).status, 200);
    second.destroy();
    await eventually(async () => {
      const again = await gateway.client();
      await again.request('GET /healthcheck HTTP/1.1', 'Host: x');
      const { status } = await again.response();
      again.destroy();
      assert.equal(status, 200);
    }, 'a place that is free again is served');
  });

  it('holds over all listeners, and after a reload; 0 = no limit', async () => {
    const address = '127.0.0.1:0';
    const listen = [{ address }, { address }];
    stage = await startStage({ listen, max_connections: 3 });
    const { gateway, api } = stage;
    const ports = (gateway.gateway.addresses?.listen ?? []).map((each) => ('port' in each ? each.port : 0));
    assert.equal(new Set(ports).size, 2);
    const clients: RawClient[] = [];
    /** How many of six connections, on both listeners in turn, are served. */
    const served = async (): Promise<number> => {
      let count = 0;
      for (let i = 0; i < 6; i += 1) {
        const client = await RawClient.connect(ports[i % 2] ?? 0);
        clients.push(client);
        await client.write('GET /healthcheck HTTP/1.1\r\n');
      }
      for (const client of clients) {
        await client.write('Host: x\r\n\r\n');
        const { status } = await client.response();
        assert.equal([200, 503].includes(status), true, `${status}`);
        if (status === 200) count += 1;
      }
      for (const client of clients.splice(0)) client.destroy();
      await eventually(async () => assert.equal(await gateway.metric('sluice_connections'), 0));
      return count;
    };
    assert.equal(await served(), 3);
    assert.equal(await gateway.metric('sluice_overload_refusals_total{bound="connections"}'), 3);
    const upstream = { servers: [api.url] };
    for (const [most, expected] of [
      [5, 5],
      [0, 6],
      [1, 1],
    ] as const) {
      await gateway.gateway.reload(testConfig({ listen, upstream, max_connections: most }));
      assert.equal(await served(), expected, `max_connections: ${most}`);
    }
  });
});
