import assert from 'node:assert/strict';
import type { WrittenOptions } from '../../src/config/options.ts';
import { MiB } from '../../src/core/units.ts';
import { eventually } from '../support/eventually.ts';
import type { RawClient } from '../support/raw-client.ts';
import { codeOf } from '../support/running-gateway.ts';
import { ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway } from '../support/test-gateway.ts';

const bodyBytes = 20 * MiB;
const requests = 20;

/** As a simple client does: all of the body first, whatever comes. */
const post = async (client: RawClient): Promise<void> => {
  client.pauseReading();
  await client.request('POST /v2/images HTTP/1.1', 'Host: x', `Content-Length: ${bodyBytes}`);
  await client.write(Buffer.alloc(bodyBytes, 'x'));
  client.resumeReading();
};

describe('an answer to a request that is no upload, before the end of its body', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;

  const start = async (script: (connection: UpstreamConnection) => void, changes: WrittenOptions = {}) => {
    upstream = await ScriptedUpstream.start(script);
    sluice = await TestGateway.start(upstream.port, { max_body: 0, ...changes });
  };
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  it(`that is ours is read by ${requests} of ${requests} clients`, async () => {
    await start(() => {}, { max_body: 1000 });
    for (let i = 0; i < requests; i += 1) {
      const client = await sluice.client();
      await post(client);
      const answer = await client.response();
      assert.deepEqual([answer.status, codeOf(answer.body)], [413, 'body-too-large']);
      client.destroy();
    }
    assert.equal(upstream.connections.length, 0);
  });

  for (const [framing, answer] of [
    ['of known length', 'Content-Length: 2\r\n\r\nno'],
    ['in chunks', 'Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n'],
  ] as const) {
    it(`that is the API's, ${framing}, is read by ${requests} of ${requests} clients`, async () => {
      await start((connection) => connection.write(`HTTP/1.1 413 Too Large\r\n${answer}`));
      for (let i = 0; i < requests; i += 1) {
        const client = await sluice.client();
        await post(client);
        const { status, headers, body } = await client.response();
        assert.deepEqual([status, body.toString(), headers.get('connection')], [413, 'no', ['close']]);
        client.destroy();
      }
    });
  }

  it('is followed by a close when as much was thrown away as lingering.bytes says', async () => {
    await start((connection) => connection.answer('413 Too Large', 'no'), { lingering: { bytes: MiB } });
    const client = await sluice.client();
    await client.request('POST /v2/images HTTP/1.1', 'Host: x', `Content-Length: ${bodyBytes}`);
    await client.write('x');
    assert.equal((await client.response()).status, 413);
    await client.write(Buffer.alloc(MiB - 1));
    assert.equal(await sluice.metric('sluice_connections'), 1);
    await client.write('x'.repeat(1000));
    await eventually(async () => assert.equal(await sluice.metric('sluice_connections'), 0));
  });

  it('to a body that comes to its end all the same is followed by a close at once', async () => {
    await start((connection) => {
      connection.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha');
      void connection.received(10).then(() => connection.write('lf'));
    });
    const client = await sluice.client();
    await client.request('POST /v2/images HTTP/1.1', 'Host: x', 'Content-Length: 10');
    await client.write('0');
    await client.receive(1);
    await client.write('123456789');
    assert.equal((await client.response()).body.toString(), 'half');
    assert.equal(await client.closed, 'fin');
    await eventually(async () => assert.equal(await sluice.metric('sluice_connections'), 0));
  });
});
