import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { eventually } from '../support/eventually.ts';
import { codeOf } from '../support/running-gateway.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';
import { UpstreamProcess } from '../support/upstream-process.ts';

const uploads = 100;

describe('an upstream that is killed with a hundred uploads running', () => {
  let upstream: UpstreamProcess;
  let sluice: TestGateway;

  beforeEach(async () => {
    upstream = await UpstreamProcess.start();
    sluice = await TestGateway.start(upstream.port, {
      quota: { limits: [{ per: 'project', saving: '1GiB' }], usage: { source: 'none' } },
      upload: { watch_interval: 0 },
    });
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.kill();
  });

  it('is 502 to every client at once, and every byte that was set aside is back', async () => {
    const clients = await Promise.all(
      Array.from({ length: uploads }, async (_, i) => {
        const client = await sluice.client();
        // neither the framing makes a difference, nor whether the client just sends or has nothing to say
        const field = i % 2 === 0 ? 'Content-Length: 5000000' : 'Transfer-Encoding: chunked';
        await client.request(...uploadHead(randomUUID(), field));
        if (i % 2 === 0) await client.write(Buffer.alloc(10_000));
        else await client.chunk(Buffer.alloc(10_000));
        if (i % 4 === 0) void client.write(Buffer.alloc(1_000_000));
        return client;
      }),
    );
    await upstream.until(() => upstream.begun === uploads);
    assert.equal(sluice.gateway.uploadsUnderWay, uploads);
    assert.equal(sluice.gateway.savingBytes > 0, true);
    // all deadlines of the gateway are a minute or longer: only the loss itself can end these uploads in time
    const answers = clients.map((client) => client.response());
    await upstream.kill();
    for (const { status, body } of await Promise.all(answers)) {
      assert.equal(status, 502);
      assert.equal(codeOf(body), 'upstream-lost');
    }
    await eventually(() => assert.equal(sluice.gateway.savingBytes, 0), 'nothing is set aside');
    assert.equal(sluice.gateway.uploadsUnderWay, 0);
    assert.equal(await sluice.metric('sluice_uploads_total{ending="upstream-lost"}'), uploads);
  });
});
