import assert from 'node:assert/strict';
import { propagation, SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { eventually } from '../support/eventually.ts';
import { LogLines } from '../support/log-lines.ts';
import type { RawClient } from '../support/raw-client.ts';
import { ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { Spans } from '../support/spans.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const image = '11111111-1111-4111-8111-111111111111';
const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const parentId = '00f067aa0ba902b7';
const traceparent = `Traceparent: 00-${traceId}-${parentId}-01`;
const secret = 'gAAAAABsecret';

const uploadName = 'upload /v2/images/{image}/file';
const legName = 'PUT /v2/images/{image}/file';

describe('the spans of a request', () => {
  let spans: Spans;
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;
  let client: RawClient;
  let lines: LogLines;
  let status: string;

  const span = (name: string) => eventually(() => spans.named(name) ?? null, `the span ${name}`);
  const arrived = (): UpstreamConnection => {
    const [connection] = upstream.connections;
    if (connection === undefined) throw new Error('nothing went upstream');
    return connection;
  };
  const begin = async (): Promise<void> => {
    sluice = await TestGateway.start(upstream.port, { quota: { usage: { source: 'none' } } }, lines);
    client = await sluice.client();
  };
  const uploadFive = async (...fields: readonly string[]): Promise<number> => {
    await client.request(...uploadHead(image, 'Content-Length: 5', ...fields));
    await client.write('12345');
    return (await client.response()).status;
  };

  beforeEach(async () => {
    spans = new Spans();
    lines = new LogLines();
    status = '204 No Content';
    upstream = await ScriptedUpstream.start(async (connection) => {
      await connection.bodyComplete();
      const body = status.startsWith('200') ? 'hello' : '';
      const framing = status.startsWith('204') ? '' : `Content-Length: ${body.length}\r\n`;
      connection.write(`HTTP/1.1 ${status}\r\n${framing}\r\n${body}`);
    });
    await begin();
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
    spans.remove();
  });

  it('tell who uploaded what, by which lane, how many bytes and how it ended', async () => {
    assert.equal(await uploadFive('X-Openstack-Request-Id: req-mine'), 204);
    const { kind, attributes, status: spanStatus } = await span(uploadName);
    assert.equal(kind, SpanKind.SERVER);
    assert.equal(spanStatus.code, SpanStatusCode.UNSET);
    const { 'sluice.upload': upload, ...rest } = attributes;
    assert.match(String(upload), /^[0-9a-f-]{36}$/);
    assert.deepEqual(rest, {
      'http.request.method': 'PUT',
      'network.protocol.version': '1.1',
      'url.scheme': 'http',
      'http.route': '/v2/images/{image}/file',
      'http.response.status_code': 204,
      'client.address': '127.0.0.1',
      'sluice.action': 'upload',
      'sluice.request_id': 'req-mine',
      'sluice.owner.user': 'ann',
      'sluice.owner.project': 'blue',
      'sluice.image': image,
      'sluice.lane': 'stream',
      'sluice.ending': 'stored',
      'sluice.received_bytes': 5,
      'sluice.sent_bytes': 5,
      'sluice.answered_bytes': 0,
    });
  });

  it('have the leg upstream as their child, and the API as the child of that', async () => {
    assert.equal(await uploadFive(), 204);
    const server = await span(uploadName);
    const leg = await span(legName);
    assert.equal(leg.kind, SpanKind.CLIENT);
    assert.equal(server.parentSpanContext, undefined);
    assert.equal(leg.parentSpanContext?.spanId, server.spanContext().spanId);
    assert.equal(spans.ended.length, 2);
    const context = leg.spanContext();
    assert.equal(arrived().header('traceparent'), `00-${context.traceId}-${context.spanId}-01`);
    assert.deepEqual(leg.attributes, {
      'http.request.method': 'PUT',
      'http.response.status_code': 204,
      'server.address': '127.0.0.1',
      'server.port': upstream.port,
      'url.template': '/v2/images/{image}/file',
      'url.full': `http://127.0.0.1:${upstream.port}/v2/images/${image}/file`,
    });
  });

  it('are of a request that is passed on, too, without its query', async () => {
    status = '200 OK';
    await client.request(`GET /v2/images?token=${secret} HTTP/1.1`, 'Host: x');
    assert.equal((await client.response()).status, 200);
    const server = await span('pass /v2/images');
    const call = await span('GET /v2/images');
    assert.equal(call.parentSpanContext?.spanId, server.spanContext().spanId);
    assert.equal(call.attributes['url.full'], `http://127.0.0.1:${upstream.port}/v2/images`);
    assert.equal(server.attributes['sluice.answered_bytes'], 5);
    assert.equal('sluice.upload' in server.attributes, false);
    assert.match(String(arrived().header('traceparent')), new RegExp(`-${call.spanContext().spanId}-01$`));
  });

  it('say no path that the profile does not know', async () => {
    await client.request(`GET /v2/${secret} HTTP/1.1`, 'Host: x');
    await client.response();
    await span('pass other');
    const call = await span('GET other');
    assert.equal('url.full' in call.attributes, false);
  });

  it("continue the client's trace, in the log too, and carry its state on", async () => {
    assert.equal(await uploadFive(traceparent, 'Tracestate: a=1'), 204);
    const server = await span(uploadName);
    assert.equal(server.spanContext().traceId, traceId);
    assert.equal(server.parentSpanContext?.spanId, parentId);
    assert.match(arrived().head, /^traceparent: /im);
    assert.equal(arrived().head.match(/^traceparent:/gim)?.length, 1);
    assert.equal(arrived().header('tracestate'), 'a=1');
    assert.match(String(arrived().header('traceparent')), new RegExp(`^00-${traceId}-(?!${parentId})`));
    const line = await eventually(() => lines.requests()[0] ?? null, 'a line');
    assert.equal(line.trace_id, traceId);
  });

  it('begin a trace of their own where the client has none that is well-formed', async () => {
    assert.equal(await uploadFive(`${traceparent}-x`), 204);
    const server = await span(uploadName);
    assert.equal(server.parentSpanContext, undefined);
    const line = await eventually(() => lines.requests()[0] ?? null, 'a line');
    assert.equal(line.trace_id, server.spanContext().traceId);
  });

  it('begin a trace of their own where the client has two, and carry no broken state on', async () => {
    const later = `Traceparent: 01-${traceId}-${parentId}-01-x`;
    assert.equal(await uploadFive(later, later), 204);
    assert.equal((await span(uploadName)).parentSpanContext, undefined);
    const next = await sluice.client();
    await next.request('GET /v2/images HTTP/1.1', 'Host: x', traceparent, 'Tracestate: a=1,a=2');
    await next.response();
    const call = await span('GET /v2/images');
    assert.equal(call.spanContext().traceId, traceId);
    assert.equal(upstream.connections[1]?.header('tracestate'), null);
  });

  it('are no error of ours where the API refuses, but one of the leg', async () => {
    status = '409 Conflict';
    assert.equal(await uploadFive(), 409);
    const server = await span(uploadName);
    const leg = await span(legName);
    assert.equal(server.status.code, SpanStatusCode.UNSET);
    assert.equal(server.attributes['sluice.ending'], 'refused');
    assert.equal('error.type' in server.attributes, false);
    assert.equal(leg.status.code, SpanStatusCode.ERROR);
    assert.equal(leg.attributes['error.type'], '409');
  });

  it('are errors where the API fails', async () => {
    status = '503 Service Unavailable';
    await client.request('GET /v2/images HTTP/1.1', 'Host: x');
    assert.equal((await client.response()).status, 503);
    for (const name of ['pass /v2/images', 'GET /v2/images']) {
      const { status: spanStatus, attributes } = await span(name);
      assert.equal(spanStatus.code, SpanStatusCode.ERROR);
      assert.equal(attributes['error.type'], '503');
    }
  });

  for (const [what, name, leg, ask] of [
    ['an upload', uploadName, legName, () => uploadFive()],
    [
      'what is passed on',
      'pass /v2/images',
      'GET /v2/images',
      () => client.request('GET /v2/images HTTP/1.1', 'Host: x'),
    ],
  ] as const) {
    it(`are errors where the API hangs up on ${what}`, async () => {
      upstream.script = (connection) => connection.reset();
      await ask();
      const server = await span(name);
      assert.equal(server.status.code, SpanStatusCode.ERROR);
      assert.equal(server.attributes['error.type'], 'upstream-lost');
      const call = await span(leg);
      assert.equal(call.status.code, SpanStatusCode.ERROR);
      assert.equal(call.attributes['error.type'], 'upstream-lost');
      assert.equal('http.response.status_code' in call.attributes, false);
    });
  }

  it('have no leg where the gateway refuses', async () => {
    await client.request('PUT /v2/images/x/file HTTP/1.1', 'Host: x', 'Content-Length: 0');
    assert.equal((await client.response()).status, 404);
    const server = await span('refused none');
    assert.equal(server.attributes['sluice.error'], 'image-id-malformed');
    assert.equal(server.attributes['http.response.status_code'], 404);
    assert.equal(server.status.code, SpanStatusCode.UNSET);
    assert.equal(spans.ended.length, 1);
  });

  it('have no status where the client left before there was one', async () => {
    upstream.script = () => {};
    await client.request(...uploadHead(image, 'Content-Length: 5'));
    await eventually(() => upstream.connections.length === 1, 'the upload is under way');
    client.reset();
    const server = await span(uploadName);
    assert.equal(server.attributes['sluice.ending'], 'client-gone');
    assert.equal('http.response.status_code' in server.attributes, false);
    assert.equal((await span(legName)).attributes['error.type'], 'client-gone');
  });

  it('hold no token and no header but the request id', async () => {
    status = '200 OK';
    const secrets = [
      'X-Auth-Token',
      'X-Service-Token',
      'Authorization',
      'Cookie',
      'User-Agent',
      'X-Any',
      'Baggage',
    ];
    const fields = secrets.map((name) => `${name}: ${secret}`);
    await uploadFive(...fields, 'Referer: http://h/?secret', 'X-Forwarded-For: 6.6.6.6');
    const other = await sluice.client();
    await other.request(`GET /v2/images/${image}?x=${secret} HTTP/1.1`, `Host: ${secret}`, ...fields);
    await other.response();
    await span('pass /v2/images/{image}');
    await span(uploadName);
    assert.equal(spans.ended.length, 4);
    const told = JSON.stringify(
      spans.ended.map(({ name, attributes, events, links, status: how }) => [
        name,
        attributes,
        events,
        links,
        how,
      ]),
    );
    for (const value of [secret, 'secret', '6.6.6.6', 'octet-stream']) {
      assert.equal(told.includes(value), false, `${value} in ${told}`);
    }
  });

  it('are lost, and not the request, where a propagator chokes on what the client sent', async () => {
    propagation.disable();
    const choke = (): never => {
      throw new Error('a defect of a propagator');
    };
    propagation.setGlobalPropagator({ inject: choke, extract: choke, fields: () => [] });
    assert.equal(await uploadFive(traceparent), 204);
    assert.equal(arrived().header('traceparent'), traceparent.slice('Traceparent: '.length));
    assert.equal((await span(uploadName)).parentSpanContext, undefined);
  });

  it('are none without an SDK, and the client’s trace goes on as it came', async () => {
    spans.remove();
    assert.equal(await uploadFive(traceparent), 204);
    assert.equal(arrived().header('traceparent'), traceparent.slice('Traceparent: '.length));
    const line = await eventually(() => lines.requests()[0] ?? null, 'a line');
    assert.equal(line.trace_id, traceId);
    assert.equal(spans.ended.length, 0);
  });
});
