import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { eventually } from '../support/eventually.ts';
import { codeOf } from '../support/running-gateway.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

describe('a gateway that shuts down', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;

  const start = async (headerTimeout: string, grace: string | number = 0): Promise<void> => {
    sluice = await TestGateway.start(upstream.port, {
      client_header_timeout: headerTimeout,
      shutdown_grace: grace,
      quota: { usage: { source: 'none' } },
    });
  };
  beforeEach(async () => {
    upstream = await ScriptedUpstream.start((connection) => {
      if (connection.head.startsWith('GET')) connection.answer('200 OK\r\nConnection: close');
    });
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  it('does not wait for connections that are silent, fresh or used', async () => {
    await start('60s');
    const fresh = await sluice.client();
    const used = await sluice.client();
    await used.request('GET /healthcheck HTTP/1.1', 'Host: x');
    assert.equal((await used.response()).status, 200);
    await sluice.gateway.drain();
    for (const client of [fresh, used]) assert.notEqual(await client.closed, 'local');
    assert.equal(fresh.unread.length, 0);
  });

  for (const [what, half] of [
    ['half a request line', 'GET / HT'],
    ['half a head', 'GET / HTTP/1.1\r\nHost: x\r\n'],
  ] as const) {
    it(`waits for ${what} no longer than client_header_timeout`, async () => {
      await start('500ms');
      const client = await sluice.client();
      await client.write(half);
      await eventually(async () => assert.equal(await sluice.metric('sluice_connections'), 1));
      const drained = sluice.gateway.drain();
      const answer = await client.response();
      assert.deepEqual([answer.status, codeOf(answer.body)], [408, 'header-timeout']);
      await drained;
      assert.deepEqual(
        sluice.lines.map(({ action, status }) => [action, status]),
        [['refused', 408]],
      );
    });
  }

  it('serves a request whose head is completed in time, and closes', async () => {
    await start('60s');
    const client = await sluice.client();
    const second = await sluice.client();
    // what was answered on the second has been read on the first, which was written before
    await client.write('GET /healthcheck HTTP/1.1\r\nHo');
    await second.request('GET /healthcheck HTTP/1.1', 'Host: x');
    await second.response();
    const drained = sluice.gateway.drain();
    await client.write('st: x\r\n\r\n');
    const answer = await client.response();
    assert.deepEqual([answer.status, answer.headers.get('connection')], [200, ['close']]);
    client.end();
    await drained;
  });

  it('waits for a change whose client has left, until the API has answered', async () => {
    await start('60s');
    upstream.script = () => {};
    const client = await sluice.client();
    await client.request(`DELETE /v2/images/${randomUUID()} HTTP/1.1`, 'Host: x', 'X-Auth-Token: x');
    await eventually(() => upstream.connections.length === 1, 'the API is asked to delete');
    client.reset();
    await eventually(async () => assert.equal(await sluice.metric('sluice_connections'), 0));
    let over = false;
    const drained = sluice.gateway.drain().then(() => {
      over = true;
    });
    // a connection that is refused has met a listener that is closed
    await eventually(
      async () =>
        await sluice.client().then(
          () => false,
          () => true,
        ),
    );
    assert.equal(over, false);
    upstream.connections[0]?.answer('204 No Content\r\nConnection: close');
    await drained;
    assert.deepEqual(
      sluice.lines.map(({ action }) => action),
      ['delete'],
    );
    assert.deepEqual(sluice.lastLine(), {
      msg: 'drained',
      requests: 0,
      uploads_unresolved: 0,
      imports_watched: 0,
    });
  });

  it('waits for such a change no longer than shutdown_grace allows, and says what it leaves behind', async () => {
    await start('60s', '100ms');
    upstream.script = async (connection) => {
      if (!connection.head.startsWith('PUT')) return;
      await connection.bodyComplete();
      connection.destroy();
    };
    const unknown = await sluice.client();
    await unknown.request(...uploadHead(randomUUID(), 'Content-Length: 1'));
    await unknown.write('x');
    assert.equal((await unknown.response()).status, 502);
    unknown.destroy();
    const client = await sluice.client();
    await client.request(`DELETE /v2/images/${randomUUID()} HTTP/1.1`, 'Host: x', 'X-Auth-Token: x');
    await eventually(() => upstream.connections.some(({ head }) => head.startsWith('DELETE')));
    client.reset();
    await sluice.gateway.drain();
    assert.deepEqual(sluice.lastLine(), {
      msg: 'drained',
      requests: 1,
      uploads_unresolved: 1,
      imports_watched: 0,
    });
  });

  it('at once tells the client of an upload why, and writes its line', async () => {
    await start('60s');
    const client = await sluice.client();
    await client.request(...uploadHead(randomUUID(), 'Content-Length: 1000'));
    await client.write('x');
    await eventually(() => upstream.connections[0]?.bodyBytes === 1, 'the upload reaches the API');
    const drained = sluice.gateway.drain();
    const stopped = sluice.gateway.stopNow();
    const answer = await client.response();
    assert.deepEqual([answer.status, codeOf(answer.body)], [503, 'shutting-down']);
    assert.equal(await client.closed, 'fin');
    client.end();
    await Promise.all([drained, stopped]);
    assert.deepEqual(
      sluice.lines.map(({ status, ending }) => [status, ending]),
      [[503, 'shutting-down']],
    );
  });

  it('at once does not wait for a client that reads nothing', async () => {
    await start('60s');
    upstream.script = (connection) => {
      connection.write('HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n');
      connection.write('y'.repeat(10_000_000));
    };
    const client = await sluice.client();
    await client.request('GET /v2/images HTTP/1.1', 'Host: x');
    await client.receive(1);
    client.pauseReading();
    await sluice.gateway.stopNow();
    await eventually(() => assert.equal(sluice.lines.length, 1));
  });
});
