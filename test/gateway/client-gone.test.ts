import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { eventually } from '../support/eventually.ts';
import { LeavingClient } from '../support/leaving-client.ts';
import { ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const firstBytes = 1_000;
/** More than all buffers on the way take. */
const declaredBytes = 64 * 1024 * 1024;

/** Not one of the deadlines of the gateway is shorter than this test's: what ends an upload here is its client. */
describe('a client that is gone', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;
  let reads: boolean;
  let begin: (connection: UpstreamConnection) => void;
  let begun: Promise<UpstreamConnection>;

  beforeEach(async () => {
    reads = true;
    begun = new Promise((resolve) => {
      begin = resolve;
    });
    upstream = await ScriptedUpstream.start(async (connection) => {
      await connection.received(firstBytes);
      if (!reads) connection.stopReading();
      begin(connection);
    });
    sluice = await TestGateway.start(upstream.port, {
      quota: { limits: [{ per: 'project', saving: '1GiB' }], usage: { source: 'none' } },
      upload: { watch_interval: 0 },
    });
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  async function upstreamIsReset(connection: UpstreamConnection): Promise<void> {
    // a socket that nobody reads from is told of the reset when somebody does
    await eventually(() => assert.equal(sluice.gateway.uploadsUnderWay, 0), 'the upload ends');
    connection.resumeReading();
    // together with data, libuv tells a reset as an end (then the bytes are too few for the length)
    const closed = await connection.closed;
    if (reads) assert.equal(closed, 'reset');
    else assert.notEqual(closed, 'local');
    assert.equal(connection.bodyBytes < declaredBytes, true);
    assert.equal(sluice.gateway.savingBytes, 0);
    assert.equal(await sluice.metric('sluice_uploads_total{ending="client-gone"}'), 1);
  }

  for (const field of [`Content-Length: ${declaredBytes}`, 'Transfer-Encoding: chunked']) {
    for (const how of ['FIN', 'RST'] as const) {
      it(`by a ${how} in the middle of a body ends the upload upstream by a reset (${field})`, async () => {
        const client = await sluice.client();
        await client.request(...uploadHead(randomUUID(), field));
        if (field.startsWith('Content')) await client.write(Buffer.alloc(firstBytes));
        else await client.chunk(Buffer.alloc(firstBytes));
        const connection = await begun;
        // a reset that comes together with data is told as an end
        await connection.received(firstBytes);
        if (how === 'FIN') client.end();
        else client.reset();
        await upstreamIsReset(connection);
      });
    }
  }

  it('by a RST while the upstream takes nothing, so that nobody reads from it, is noticed as well', async () => {
    reads = false;
    const client = await sluice.client();
    await client.request(...uploadHead(randomUUID(), `Content-Length: ${declaredBytes}`));
    void client.write(Buffer.alloc(declaredBytes));
    const connection = await begun;
    const sent = async (): Promise<number> => (await sluice.uploads())[0]?.received_bytes ?? 0;
    let before = -1;
    await eventually(async () => {
      const now = await sent();
      const stands = now > firstBytes && now === before;
      before = now;
      return stands;
    }, 'nothing moves any more');
    client.reset();
    await upstreamIsReset(connection);
  });

  for (const when of ['before its request is answered', 'in the middle of its answer'] as const) {
    it(`by a RST ${when} ends the request upstream by a reset`, async () => {
      upstream.script = (connection) => {
        if (when !== 'before its request is answered') {
          connection.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ');
        }
        begin(connection);
      };
      const client = await sluice.client();
      await client.request('GET /v2/images HTTP/1.1', 'Host: images');
      const connection = await begun;
      if (when !== 'before its request is answered') {
        await eventually(() => client.unread.includes('half '), 'the answer has begun');
        // what comes after the read that brought the head goes through the lane
        connection.write('more');
        await eventually(() => client.unread.includes('more'), 'the answer moves');
      }
      client.reset();
      assert.equal(await connection.closed, 'reset');
    });
  }

  it('by a kill of its process ends the upload upstream by a reset', async () => {
    const head = uploadHead(randomUUID(), `Content-Length: ${declaredBytes}`);
    const client = new LeavingClient(sluice.port, head, firstBytes);
    const connection = await begun;
    await connection.received(firstBytes);
    await client.kill();
    await upstreamIsReset(connection);
  });
});
