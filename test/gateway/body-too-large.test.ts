import assert from 'node:assert/strict';
import type { WrittenOptions } from '../../src/config/options.ts';
import { eventually } from '../support/eventually.ts';
import type { RawClient } from '../support/raw-client.ts';
import { codeOf } from '../support/running-gateway.ts';
import { ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway } from '../support/test-gateway.ts';

const limit = 1000;
const answerWhenWhole = async (connection: UpstreamConnection): Promise<void> => {
  await connection.bodyComplete();
  connection.answer('200 OK', 'taken');
};

describe('a body that is no upload', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;
  let client: RawClient;

  const start = async (changes: WrittenOptions = { max_body: limit }): Promise<void> => {
    sluice = await TestGateway.start(upstream.port, changes);
    client = await sluice.client();
  };
  const head = (...fields: readonly string[]): Promise<void> =>
    client.request('POST /v2/images HTTP/1.1', 'Host: images', 'Content-Type: text/plain', ...fields);

  beforeEach(async () => {
    upstream = await ScriptedUpstream.start(answerWhenWhole);
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  for (const [word, bytes, status] of [
    ['under', limit - 1, 200],
    ['at', limit, 200],
    ['over', limit + 1, 413],
  ] as const) {
    it(`of announced length ${word} max_body is answered ${status}`, async () => {
      await start();
      await head(`Content-Length: ${bytes}`);
      void client.write('x'.repeat(bytes));
      const answer = await client.response();
      assert.equal(answer.status, status);
      if (status === 200) assert.equal(upstream.connections[0]?.body.toString(), 'x'.repeat(bytes));
      else {
        assert.equal(codeOf(answer.body), 'body-too-large');
        assert.equal(upstream.connections.length, 0);
      }
    });

    it(`in chunks ${word} max_body is answered ${status}, and no byte over it goes upstream`, async () => {
      await start();
      await head('Transfer-Encoding: chunked');
      await client.chunk('x'.repeat(400));
      await client.chunk('x'.repeat(bytes - 400));
      await client.chunk('');
      const answer = await client.response();
      assert.equal(answer.status, status);
      const [connection] = upstream.connections;
      const sent = connection?.body.toString().replaceAll(/[^x]/g, '') ?? '';
      if (status === 200) assert.equal(sent.length, bytes);
      else {
        assert.equal(codeOf(answer.body), 'body-too-large');
        assert.ok(sent.length <= limit, `${sent.length} bytes went upstream`);
      }
    });
  }

  it('in chunks that never end is cut at max_body, and does not end cleanly upstream', async () => {
    await start();
    await head('Transfer-Encoding: chunked');
    await client.chunk('x'.repeat(limit));
    await eventually(() => (upstream.connections[0]?.bodyBytes ?? 0) >= limit, 'the body is on its way');
    await client.chunk('x');
    assert.equal((await client.response()).status, 413);
    const [connection] = upstream.connections;
    await connection?.closed;
    const body = connection?.body.toString() ?? '';
    assert.equal(body.replaceAll(/[^x]/g, '').length, limit);
    assert.ok(!body.endsWith('0\r\n\r\n'), 'a cut body must not look whole');
  });

  it('has no limit where max_body is 0', async () => {
    await start({ max_body: 0 });
    await head('Content-Length: 2000000');
    void client.write('x'.repeat(2_000_000));
    assert.equal((await client.response()).status, 200);
    assert.equal(upstream.connections[0]?.bodyBytes, 2_000_000);
  });

  it('has a limit of 1 MiB where nothing is said', async () => {
    await start({});
    await head(`Content-Length: ${1024 * 1024 + 1}`);
    assert.equal((await client.response()).status, 413);
  });

  for (const method of ['GET', 'DELETE', 'PUT', 'PATCH']) {
    it(`is limited with ${method} too`, async () => {
      await start();
      await client.request(`${method} /v2/schemas/image HTTP/1.1`, 'Host: x', `Content-Length: ${limit + 1}`);
      assert.equal((await client.response()).status, 413);
      const other = await sluice.client();
      await other.request(`${method} /v2/schemas/image HTTP/1.1`, 'Host: x', 'Content-Length: 4');
      await other.write('body');
      assert.equal((await other.response()).status, 200);
      assert.equal(upstream.connections[0]?.body.toString(), 'body');
    });
  }

  it('is asked for with 100 Continue where it fits, and refused without where it does not', async () => {
    await start();
    await head(`Content-Length: ${limit}`, 'Expect: 100-continue');
    await client.receive(1);
    await client.write('x'.repeat(limit));
    const taken = await client.response();
    assert.deepEqual([taken.status, taken.informational], [200, [100]]);
    await head(`Content-Length: ${limit + 1}`, 'Expect: 100-continue');
    const refused = await client.response();
    assert.deepEqual([refused.status, refused.informational], [413, []]);
  });

  it('that stands still ends with 408, and the upstream is let go', async () => {
    await start({ client_socket_timeout: '200ms' });
    await head('Content-Length: 10');
    await client.write('x');
    const answer = await client.response();
    assert.equal(answer.status, 408);
    assert.equal(codeOf(answer.body), 'client-stalled');
    await eventually(() => assert.equal(upstream.openSockets, 0), 'the upstream is let go');
  });

  it('whose client leaves is cut upstream', async () => {
    await start();
    await head('Content-Length: 10');
    await client.write('x');
    await eventually(() => upstream.connections[0]?.bodyBytes === 1, 'the body is on its way');
    client.reset();
    assert.notEqual(await upstream.connections[0]?.closed, 'local');
    assert.equal(upstream.connections[0]?.bodyBytes, 1);
  });

  it('that is framed wrongly is answered 400 and cut upstream', async () => {
    await start();
    await head('Transfer-Encoding: chunked');
    await client.chunk('x');
    await eventually(() => (upstream.connections[0]?.bodyBytes ?? 0) > 0, 'the body is on its way');
    await client.write('no size\r\n');
    const answer = await client.response();
    assert.equal(answer.status, 400);
    assert.equal(codeOf(answer.body), 'body-invalid');
    await eventually(() => assert.equal(upstream.openSockets, 0), 'the upstream is let go');
  });

  it('is not the reason to lose the answer of an API that cannot be reached', async () => {
    await start();
    await upstream.stop();
    await head('Transfer-Encoding: chunked');
    await client.chunk('x');
    const answer = await client.response();
    assert.equal(answer.status, 502);
    assert.equal(codeOf(answer.body), 'upstream-unreachable');
    upstream = await ScriptedUpstream.start(answerWhenWhole);
  });
});
