import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { eventually } from '../support/eventually.ts';
import { codeOf } from '../support/running-gateway.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';
import { UpstreamProcess } from '../support/upstream-process.ts';

/** SLUICE_STOP_SECONDS = how long the upstream is stopped; 30 in the long form. */
const stopSeconds = z.coerce.number().positive().default(2).parse(process.env.SLUICE_STOP_SECONDS);
/** More than the kernel takes for a process that does not read. */
const declaredBytes = 24 * 1024 * 1024;
const uploads = 4;

describe(`an upstream that is stopped (SIGSTOP) for ${stopSeconds} s`, () => {
  let upstream: UpstreamProcess;
  let sluice: TestGateway | null = null;

  beforeEach(async () => {
    upstream = await UpstreamProcess.start();
  });
  afterEach(async () => {
    await sluice?.stop();
    await upstream.kill();
  });

  /** The answers to uploads that are begun, then stopped in the middle. */
  async function stopped(chunkTimeoutSeconds: number): Promise<Promise<{ status: number; code: string }>[]> {
    const gateway = await TestGateway.start(upstream.port, {
      quota: { limits: [{ per: 'project', saving: '1GiB' }], usage: { source: 'none' } },
      upload: { watch_interval: 0, chunk_timeout: chunkTimeoutSeconds },
    });
    sluice = gateway;
    const clients = await Promise.all(
      Array.from({ length: uploads }, async () => {
        const client = await gateway.client();
        await client.request(...uploadHead(randomUUID(), `Content-Length: ${declaredBytes}`));
        await client.write(Buffer.alloc(1_000));
        return client;
      }),
    );
    await upstream.until(() => upstream.begun === uploads);
    upstream.signal('SIGSTOP');
    return clients.map(async (client) => {
      void client.write(Buffer.alloc(declaredBytes - 1_000));
      const { status, body } = await client.response();
      return { status, code: status < 300 ? '' : codeOf(body) };
    });
  }

  it('stores every upload whole that may wait as long', async function () {
    this.timeout(20_000 + 3_000 * stopSeconds);
    const answers = await stopped(10 * stopSeconds);
    await sleep(stopSeconds * 1000);
    assert.equal(sluice?.gateway.uploadsUnderWay, uploads, 'all wait');
    upstream.signal('SIGCONT');
    for (const { status } of await Promise.all(answers)) assert.equal(status, 204);
    assert.equal(upstream.stored, uploads);
    assert.equal(await sluice?.metric('sluice_uploads_total{ending="stored"}'), uploads);
  });

  it('is 504 upstream-stalled to those that may not, and their bytes are back while it still stands', async function () {
    this.timeout(20_000 + 3_000 * stopSeconds);
    const answers = await stopped(stopSeconds / 4);
    for (const { status, code } of await Promise.all(answers)) {
      assert.equal(status, 504);
      assert.equal(code, 'upstream-stalled');
    }
    await eventually(() => assert.equal(sluice?.gateway.savingBytes, 0), 'nothing is set aside');
    assert.equal(await sluice?.metric('sluice_uploads_total{ending="upstream-stalled"}'), uploads);
    upstream.signal('SIGCONT');
    // what it read before is cut off: none of it is taken for a whole upload
    const next = await sluice?.client();
    await next?.request(...uploadHead(randomUUID(), 'Content-Length: 3'));
    await next?.write('abc');
    assert.equal((await next?.response())?.status, 204);
    assert.equal(upstream.stored, 1);
  });
});
