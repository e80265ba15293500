import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { eventually } from '../support/eventually.ts';
import { codeOf } from '../support/running-gateway.ts';
import { ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const get = 'GET /v2/images HTTP/1.1\r\nHost: x\r\n\r\n';

describe('a client that closes its side', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;
  let answering: (connection: UpstreamConnection) => void;

  const nobodyIsLeft = async (): Promise<void> => {
    await eventually(async () => assert.equal(await sluice.metric('sluice_connections'), 0));
  };

  beforeEach(async () => {
    answering = () => {};
    upstream = await ScriptedUpstream.start((connection) => answering(connection));
    sluice = await TestGateway.start(upstream.port, {
      quota: { usage: { source: 'none' } },
      upstream: { response_timeout: '300ms' },
      upload: { watch_interval: 0 },
    });
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  it('after a whole request is answered, and the connection closes', async () => {
    const client = await sluice.client();
    await client.write(get);
    client.end();
    await eventually(() => assert.equal(upstream.connections.length, 1));
    await sluice.metric('sluice_connections');
    upstream.connections[0]?.answer('200 OK', 'heard');
    assert.equal((await client.response()).body.toString(), 'heard');
    assert.equal(await client.closed, 'fin');
    await nobodyIsLeft();
    assert.deepEqual([sluice.lines[0]?.status, sluice.lines[0]?.error], [200, undefined]);
  });

  it('after a whole upload is answered, and the connection closes', async () => {
    const client = await sluice.client();
    await client.request(...uploadHead(randomUUID(), 'Content-Length: 3'));
    await client.write('abc');
    client.end();
    await eventually(() => assert.equal(upstream.connections[0]?.body.toString(), 'abc'));
    upstream.connections[0]?.answer('204 No Content');
    assert.equal((await client.response()).status, 204);
    await nobodyIsLeft();
    assert.equal(sluice.lines[0]?.ending, 'stored');
  });

  it('after several whole requests is answered each of them', async () => {
    answering = (connection) => connection.answer('200 OK\r\nConnection: close', 'heard');
    const client = await sluice.client();
    await client.write(get.repeat(3));
    client.end();
    for (let i = 0; i < 3; i += 1) assert.equal((await client.response()).body.toString(), 'heard');
    assert.equal(await client.closed, 'fin');
    await nobodyIsLeft();
  });

  it('after a whole request that the API never answers is told so, and leaves nothing behind', async () => {
    const client = await sluice.client();
    await client.write(get);
    client.end();
    assert.equal((await client.response()).status, 504);
    await nobodyIsLeft();
  });

  it('and then its other side too leaves nothing behind', async () => {
    const client = await sluice.client();
    await client.write(get);
    await eventually(() => assert.equal(upstream.connections.length, 1));
    client.destroy();
    upstream.connections[0]?.answer('200 OK', 'x'.repeat(1_000_000));
    await nobodyIsLeft();
    await eventually(() => assert.equal(sluice.lines.length, 1));
  });

  for (const [framing, field] of [
    ['known', 'Content-Length: 1000'],
    ['unknown', 'Transfer-Encoding: chunked'],
  ] as const) {
    it(`in the middle of an upload of ${framing} length is gone`, async () => {
      const client = await sluice.client();
      await client.request(...uploadHead(randomUUID(), field));
      await eventually(() => assert.equal(upstream.connections.length, 1));
      client.end();
      await eventually(() => assert.equal(upstream.openSockets, 0), 'the upstream is let go');
      await eventually(() => assert.equal(sluice.lines[0]?.ending, 'client-gone'));
      await nobodyIsLeft();
      assert.equal(sluice.gateway.savingBytes, 0);
    });
  }

  it('in the middle of another body is gone', async () => {
    const client = await sluice.client();
    await client.request('POST /v2/images HTTP/1.1', 'Host: x', 'Content-Length: 10');
    await client.write('x');
    await eventually(() => assert.equal(upstream.connections.length, 1));
    client.end();
    await nobodyIsLeft();
    assert.equal(sluice.lines[0]?.error, 'client-gone');
  });

  it('in the middle of a head is told that this is no request', async () => {
    const client = await sluice.client();
    await client.write('GET / HTTP/1.1\r\n');
    client.end();
    const answer = await client.response();
    assert.deepEqual([answer.status, codeOf(answer.body)], [400, 'request-invalid']);
    await nobodyIsLeft();
  });

  it('without a request is closed', async () => {
    const fresh = await sluice.client();
    const used = await sluice.client();
    answering = (connection) => connection.answer('200 OK');
    await used.write(get);
    await used.response();
    for (const client of [fresh, used]) {
      client.end();
      assert.equal(await client.closed, 'fin');
    }
    await nobodyIsLeft();
  });
});
