import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { LogLines } from '../support/log-lines.ts';
import type { RawClient } from '../support/raw-client.ts';
import { ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const image = '11111111-1111-4111-8111-111111111111';
const ownId = /^req-[0-9a-f-]{36}$/;

describe('the headers that cross the gateway', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;
  let client: RawClient;
  let lines: LogLines;
  let answerFields: string;

  const start = async (trusted: readonly string[]): Promise<void> => {
    lines = new LogLines();
    sluice = await TestGateway.start(
      upstream.port,
      { trusted_proxies: [...trusted], quota: { usage: { source: 'none' } } },
      lines,
    );
    client = await sluice.client();
  };
  const arrived = (): UpstreamConnection => {
    const [connection] = upstream.connections;
    assert.notEqual(connection, undefined, 'nothing went upstream');
    if (connection === undefined) throw new Error('nothing went upstream');
    return connection;
  };
  const fields = (...names: readonly string[]) => names.map((name) => arrived().header(name));
  const loggedIds = async () => {
    const { request_id, upstream_request_id } = await eventually(() => lines.requests()[0] ?? null, 'a line');
    return { request_id, upstream_request_id };
  };

  beforeEach(async () => {
    answerFields = '';
    upstream = await ScriptedUpstream.start(async (connection) => {
      await connection.bodyComplete();
      connection.write(`HTTP/1.1 200 OK\r\n${answerFields}Content-Length: 0\r\n\r\n`);
    });
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  const heads: Readonly<Record<string, (...more: string[]) => string[]>> = {
    'a request that is passed on': (...more) => ['GET /v2/images HTTP/1.1', 'Host: images:9191', ...more],
    'an upload': (...more) => uploadHead(image, 'Content-Length: 0', ...more).with(1, 'Host: images:9191'),
  };
  const claims = [
    'X-Forwarded-For: 203.0.113.9',
    'X-Forwarded-Proto: https',
    'X-Forwarded-Host: cloud.example',
    'X-Forwarded-Prefix: /evil',
    'Forwarded: for=1.1.1.1;host=evil',
    'Via: 1.0 front',
  ];
  const family = ['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'forwarded'] as const;

  for (const [what, head] of Object.entries(heads)) {
    describe(`with ${what}`, () => {
      it('tell the upstream what the connection says, whatever a stranger claims', async () => {
        await start([]);
        await client.request(...head(...claims));
        assert.equal((await client.response()).status, 200);
        assert.deepEqual(fields(...family), ['127.0.0.1', 'http', 'images:9191', 'for=127.0.0.1;proto=http']);
        assert.deepEqual(fields('host', 'x-forwarded-prefix'), ['images:9191', null]);
        assert.match(fields('via')[0] ?? '', /^1\.0 front, 1\.1 sluice-[0-9a-f]{16}$/);
      });

      it('tell the upstream what a trusted proxy says, and our hop after it', async () => {
        await start(['127.0.0.1']);
        await client.request(...head(...claims));
        assert.equal((await client.response()).status, 200);
        assert.deepEqual(fields(...family), [
          '203.0.113.9, 127.0.0.1',
          'https',
          'cloud.example',
          'for=203.0.113.9;host=cloud.example;proto=https, for=127.0.0.1;proto=http',
        ]);
        assert.deepEqual(fields('x-forwarded-prefix'), [null]);
      });

      it('carry a trace on, and its id into the log', async () => {
        const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00';
        await start([]);
        await client.request(...head(`Traceparent: ${traceparent}`, 'tracestate: a=1', 'tracestate: b=2'));
        assert.equal((await client.response()).status, 200);
        assert.deepEqual(fields('traceparent', 'tracestate'), [traceparent, 'a=1, b=2']);
        const line = await eventually(() => lines.requests()[0] ?? null, 'a line');
        assert.equal(line.trace_id, '4bf92f3577b34da6a3ce929d0e0e4736');
      });

      it('carry no trace on that is malformed', async () => {
        await start([]);
        await client.request(...head('traceparent: 00-1-1-00', 'tracestate: a=1'));
        assert.equal((await client.response()).status, 200);
        assert.deepEqual(fields('traceparent', 'tracestate'), [null, null]);
        const line = await eventually(() => lines.requests()[0] ?? null, 'a line');
        assert.equal('trace_id' in line, false);
      });

      it('say once, to the client, the log and the API, which request it is where the API does not', async () => {
        await start([]);
        await client.request(...head('X-Openstack-Request-Id: req-mine'));
        const { headers } = await client.response();
        assert.deepEqual(headers.get('x-openstack-request-id'), ['req-mine']);
        assert.deepEqual(headers.get('via'), ['1.1 sluice']);
        assert.deepEqual(fields('x-openstack-request-id'), ['req-mine']);
        assert.deepEqual(await loggedIds(), { request_id: 'req-mine', upstream_request_id: undefined });
      });

      it("give the client the API's own request id, and the log both", async () => {
        answerFields = 'X-Openstack-Request-Id: req-glance\r\nVia: 1.1 store\r\n';
        await start([]);
        await client.request(...head(`X-Openstack-Request-Id: ${'x'.repeat(65)}`));
        const { headers } = await client.response();
        assert.deepEqual(headers.get('x-openstack-request-id'), ['req-glance']);
        assert.deepEqual(headers.get('via'), ['1.1 store, 1.1 sluice']);
        const [sent] = fields('x-openstack-request-id');
        assert.match(String(sent), ownId);
        assert.deepEqual(await loggedIds(), { request_id: sent, upstream_request_id: 'req-glance' });
      });
    });
  }

  const refused: Readonly<Record<string, readonly string[]>> = {
    'what the gateway refuses': ['GET /v2/images/%2e%2e/x HTTP/1.1', 'Host: x'],
    'what cannot be parsed': ['GET / HTTP/1.1', 'Host: x', 'A b'],
    'an expectation that nobody meets': ['GET / HTTP/1.1', 'Host: x', 'Expect: cake'],
    'a body with two lengths': ['PUT / HTTP/1.1', 'Host: x', 'Content-Length: 1', 'Content-Length: 2'],
  };
  for (const [what, head] of Object.entries(refused)) {
    it(`give an answer to ${what} a request id and no Via`, async () => {
      await start([]);
      await client.request(...head);
      const { headers } = await client.response();
      assert.match(String(headers.get('x-openstack-request-id')), ownId);
      assert.equal(headers.get('x-openstack-request-id')?.length, 1);
      assert.equal(headers.has('via'), false);
      assert.equal(upstream.connections.length, 0);
    });
  }
});
