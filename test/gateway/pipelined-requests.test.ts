import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { eventually } from '../support/eventually.ts';
import type { RawClient } from '../support/raw-client.ts';
import { codeOf } from '../support/running-gateway.ts';
import { ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;
const pathOf = ({ head }: UpstreamConnection): string => head.split(' ')[1] ?? '';
const closing = 'Connection: close';

describe('requests that come in one go', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;
  let client: RawClient;

  beforeEach(async () => {
    upstream = await ScriptedUpstream.start(() => {});
    sluice = await TestGateway.start(upstream.port, { quota: { usage: { source: 'none' } } });
    client = await sluice.client();
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  /** Every connection that a request went over is closed. undici may have made new ones, to have them. */
  const letGo = async (): Promise<void> => {
    for (const { closed } of upstream.connections) assert.notEqual(await closed, 'local');
  };

  it('are sent on one after the other, in their order', async () => {
    await client.write(get('/0') + get('/1') + get('/2'));
    for (let i = 0; i < 3; i += 1) {
      await eventually(() => assert.equal(upstream.connections.length, i + 1));
      // whatever the first ones lack, the later ones are not begun
      assert.deepEqual(upstream.connections.map(pathOf), ['/0', '/1', '/2'].slice(0, i + 1));
      upstream.connections[i]?.answer(`200 OK\r\n${closing}`, `answer ${i}`);
      assert.equal((await client.response()).body.toString(), `answer ${i}`);
    }
    assert.deepEqual(
      sluice.lines.map(({ status }) => status),
      [200, 200, 200],
    );
  });

  it('with their bodies are served one after the other too', async () => {
    upstream.script = async (connection) => {
      await connection.bodyComplete();
      connection.answer(`200 OK\r\n${closing}`, connection.body.toString());
    };
    const post = (body: string): string =>
      `POST /v2/images HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const upload = `${uploadHead(randomUUID(), 'Content-Length: 3').join('\r\n')}\r\n\r\ntwo`;
    await client.write(post('one') + upload + post('x'.repeat(500_000)));
    assert.equal((await client.response()).body.toString(), 'one');
    assert.equal((await client.response()).body.toString(), 'two');
    assert.equal((await client.response()).body.length, 500_000);
  });

  it('open one connection to the API, not hundreds; the answer to the last one that is taken says close', async () => {
    await client.write(get('/').repeat(500));
    await eventually(() => assert.equal(upstream.connections.length, 1));
    upstream.script = (connection) => connection.answer(`200 OK\r\n${closing}`, 'next');
    upstream.connections[0]?.answer(`200 OK\r\n${closing}`, 'first');
    const answers = [await client.response()];
    while (!answers.at(-1)?.headers.get('connection')?.includes('close'))
      answers.push(await client.response());
    assert.equal(answers.length, 33);
    assert.equal(await client.closed, 'fin');
    assert.equal(upstream.connections.length, 33);
  });

  it('in thousands end the connection', async () => {
    await client.write(get('/').repeat(5_000));
    assert.notEqual(await client.closed, 'local');
    await letGo();
  });

  it('and are then reset leave nothing behind, and one line each', async () => {
    const clients = await Promise.all(Array.from({ length: 20 }, () => sluice.client()));
    for (const each of clients) await each.write(get('/slow') + get('/big'));
    await eventually(() => assert.equal(upstream.connections.length, 20));
    for (const each of clients) each.reset();
    await letGo();
    await eventually(() => assert.equal(sluice.lines.length, 40));
    assert.deepEqual([...new Set(sluice.lines.map(({ status }) => status))], [499]);
    assert.equal(upstream.connections.length, 20);
  });

  it('and are reset while the first answer is on its way leave nothing behind', async () => {
    upstream.script = (connection) => {
      connection.write('HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n');
      connection.write('y'.repeat(4_000_000));
    };
    client.pauseReading();
    await client.write(get('/big') + get('/big'));
    await eventually(() => assert.equal(upstream.connections.length, 1));
    client.reset();
    await letGo();
    await eventually(() => assert.equal(sluice.lines.length, 2));
  });

  for (const [what, sent, code] of [
    ['no HTTP', '\x16\x03\r\n\r\n', 'request-invalid'],
    [
      'framed wrongly',
      'POST /v2/images HTTP/1.1\r\nHost: x\r\nX-Openstack-Request-Id: req-mine\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
      'body-invalid',
    ],
  ] as const) {
    it(`of which the second is ${what} have the first one answered before it is refused`, async () => {
      await client.write(get('/') + sent);
      await eventually(() => assert.equal(upstream.connections.length, 1));
      upstream.connections[0]?.answer(`200 OK\r\n${closing}`, 'first');
      assert.equal((await client.response()).body.toString(), 'first');
      const refused = await client.response();
      assert.deepEqual([refused.status, codeOf(refused.body)], [400, code]);
      assert.notEqual(await client.closed, 'local');
      await eventually(() => assert.equal(sluice.lines.length, 2));
      assert.deepEqual(new Set(sluice.lines.map(({ status }) => status)), new Set([200, 400]));
      const line = sluice.lines.find(({ status }) => status === 400);
      assert.deepEqual(refused.headers.get('x-openstack-request-id'), [line?.request_id]);
      if (sent.includes('req-mine')) assert.equal(line?.request_id, 'req-mine');
    });
  }
});
