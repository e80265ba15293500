import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WrittenOptions } from '../../src/config/options.ts';
import { eventually } from '../support/eventually.ts';
import {
  ann,
  codeOf,
  KiB,
  problemSchema,
  type RunningGateway,
  type Stage,
  startGateway,
  startStage,
  uploadsSeen,
} from '../support/running-gateway.ts';

const bob = { 'X-User-Id': 'bob', 'X-Project-Id': 'blue' };
const chunked = ['Transfer-Encoding: chunked'];
const totalOf = (total: number): WrittenOptions => ({
  quota: { limits: [{ per: 'project', total }], usage: { ttl: 300 } },
});

describe('the quota of a project', () => {
  let stage: Stage;
  afterEach(() => stage.stop());

  const begin = async (changes: WrittenOptions): Promise<RunningGateway> => {
    stage = await startStage(changes);
    return stage.gateway;
  };

  it('lets four of eight parallel uploads of a quarter in; the API never sees the others', async () => {
    const quarter = 100_000;
    const gateway = await begin(totalOf(4 * quarter));
    const images = await Promise.all(Array.from({ length: 8 }, () => gateway.create()));
    const answers = await Promise.all(images.map((image) => gateway.put(image, quarter)));
    const said = answers.map(({ status, code }) => `${status} ${code}`).sort();
    assert.deepEqual(said, [
      ...Array.from({ length: 4 }, () => '204 '),
      ...Array.from({ length: 4 }, () => '413 quota-exceeded'),
    ]);
    assert.equal(uploadsSeen(stage.api), 4);
    assert.equal(stage.api.storedBytes(), 4 * quarter);
    assert.equal(gateway.gateway.savingBytes, 0);
  });

  const total = 150_000;
  for (const [bytes, status] of [
    [total - 1, 204],
    [total, 204],
    [total + 1, 413],
  ] as const) {
    it(`answers ${status} to ${bytes} of ${total} bytes of known length`, async () => {
      const gateway = await begin(totalOf(total));
      const image = await gateway.create();
      assert.equal((await gateway.put(image, bytes)).status, status);
      assert.equal(uploadsSeen(stage.api), status === 204 ? 1 : 0);
    });

    it(`answers ${status} to ${bytes} of ${total} bytes of unknown length`, async () => {
      const gateway = await begin({ ...totalOf(total), upload: { chunk_size: 64 * KiB } });
      const image = await gateway.create();
      const client = await gateway.uploading(image, chunked);
      await client.chunk(Buffer.alloc(bytes));
      void client.chunk('');
      const answer = await client.response();
      assert.equal(answer.status, status);
      // the API removes what it has of a cut body in its own time
      const storedBytes = status === 204 ? bytes : 0;
      await eventually(() => stage.api.storedBytes() === storedBytes, `${storedBytes} bytes are stored`);
    });
  }

  it('says in the refusal what was asked for, what remains and what is allowed', async () => {
    const gateway = await begin(totalOf(1000));
    assert.equal((await gateway.put(await gateway.create(), 400)).status, 204);
    const client = await gateway.uploading(await gateway.create(), ['Content-Length: 601']);
    const { body, headers } = await client.response();
    assert.deepEqual(headers.get('content-type'), ['application/problem+json']);
    const { code, requested, remaining, limit } = problemSchema.parse(JSON.parse(body.toString()));
    assert.deepEqual(
      { code, requested, remaining, limit },
      { code: 'quota-exceeded', requested: 601, remaining: 600, limit: 1000 },
    );
  });

  it('lets the next upload in after a delete although the reading is younger than usage.ttl', async () => {
    const gateway = await begin(totalOf(1000));
    const first = await gateway.create();
    const second = await gateway.create();
    assert.equal((await gateway.put(first, 1000)).status, 204);
    assert.equal((await gateway.put(second, 1000)).status, 413);
    assert.equal(await gateway.delete(first), 204);
    assert.equal((await gateway.put(second, 1000)).status, 204);
  });

  it('refuses before 100 Continue, and says 100 when it lets in', async () => {
    const gateway = await begin(totalOf(1000));
    const image = await gateway.create();
    const over = await gateway.uploading(image, ['Content-Length: 1001', 'Expect: 100-continue']);
    const refused = await over.response();
    assert.equal(refused.status, 413);
    assert.deepEqual(refused.informational, []);
    const fits = await gateway.uploading(image, ['Content-Length: 1000', 'Expect: 100-continue']);
    await fits.receive('HTTP/1.1 100 Continue\r\n\r\n'.length);
    await fits.write(Buffer.alloc(1000));
    const stored = await fits.response();
    assert.equal(stored.status, 204);
    assert.deepEqual(stored.informational, [100]);
  });

  it('in mode log is only counted', async () => {
    const gateway = await begin({
      quota: { mode: 'log', limits: [{ per: 'project', total: 1000 }] },
    });
    const image = await gateway.create();
    assert.equal((await gateway.put(image, 1001)).status, 204);
    assert.equal(await gateway.metric('sluice_quota_refusals_total{limit="total",mode="log"}'), 1);
    assert.equal((await gateway.image(image)).size, 1001);
  });

  it('in mode off is nothing', async () => {
    const gateway = await begin({
      quota: { mode: 'off', limits: [{ per: 'project', total: 1000 }] },
    });
    assert.equal((await gateway.put(await gateway.create(), 1001)).status, 204);
    assert.equal(await gateway.metric('sluice_quota_refusals_total{limit="total",mode="log"}'), 0);
    assert.equal(await gateway.metric('sluice_usage_readings_total{outcome="read"}'), 0);
  });
});

describe('the limits of a user', () => {
  let stage: Stage;
  afterEach(() => stage.stop());

  it('saving: bytes in flight fit exactly, one more is 413 with Retry-After; others have their own', async () => {
    stage = await startStage({ quota: { limits: [{ per: 'user', saving: 1000 }] } });
    const { gateway, api } = stage;
    const running = await gateway.uploading(await gateway.create(), ['Content-Length: 600']);
    await eventually(() => api.uploadsUnderWay() === 1);
    const over = await gateway.uploading(await gateway.create(), ['Content-Length: 401']);
    const refused = await over.response();
    assert.equal(refused.status, 413);
    assert.equal(codeOf(refused.body), 'saving-exceeded');
    assert.deepEqual(refused.headers.get('retry-after'), ['5']);
    assert.equal((await gateway.put(await gateway.create(), 400)).status, 204);
    assert.equal((await gateway.put(await gateway.create(bob), 1000, bob)).status, 204);
    await running.write(Buffer.alloc(600));
    assert.equal((await running.response()).status, 204);
    assert.equal((await gateway.put(await gateway.create(), 1000)).status, 204);
  });

  it('uploads: one more than allowed at once is 429 with Retry-After; a place that is free is given', async () => {
    stage = await startStage({ quota: { limits: [{ per: 'user', uploads: 2 }] } });
    const { gateway, api } = stage;
    const one = await gateway.uploading(await gateway.create(), ['Content-Length: 1']);
    await gateway.uploading(await gateway.create(), chunked);
    await eventually(() => api.uploadsUnderWay() === 2);
    const third = await gateway.create();
    const over = await gateway.uploading(third, ['Content-Length: 1']);
    const refused = await over.response();
    assert.equal(refused.status, 429);
    assert.equal(codeOf(refused.body), 'uploads-exceeded');
    assert.deepEqual(refused.headers.get('retry-after'), ['5']);
    assert.equal((await gateway.put(await gateway.create(bob), 1, bob)).status, 204);
    await one.write('x');
    assert.equal((await one.response()).status, 204);
    assert.equal((await gateway.put(third, 1)).status, 204);
  });
});

describe('overrides of the quota', () => {
  let stage: Stage;
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-test-'));
  });
  afterEach(async () => {
    await stage.stop();
    rmSync(folder, { recursive: true });
  });

  it('replace the rules for the project or user that they name, more, less and none', async () => {
    const overrides = join(folder, 'quotas.yaml');
    writeFileSync(
      overrides,
      'more: { total: 2000 }\nless: { total: 500 }\nfree: { total: 0 }\nbob: { uploads: 0 }\n',
    );
    stage = await startStage({
      quota: {
        overrides,
        limits: [
          { per: 'project', total: 1000 },
          { per: 'user', saving: 1500 },
        ],
      },
    });
    const { gateway } = stage;
    const status = async (project: string, bytes: number): Promise<number> => {
      const who = { 'X-User-Id': `user-of-${project}`, 'X-Project-Id': project };
      return (await gateway.put(await gateway.create(who), bytes, who)).status;
    };
    assert.equal(await status('plain', 1001), 413);
    assert.equal(await status('plain', 1000), 204);
    assert.equal(await status('less', 501), 413);
    assert.equal(await status('less', 500), 204);
    assert.equal(await status('more', 1400), 204);
    assert.equal(await status('more', 601), 413);
    assert.equal(await status('more', 600), 204);
    assert.equal(await status('free', 1500), 204);
    // an override of one limit leaves the others: the user's bytes in flight
    assert.equal(await status('free', 1501), 413);
  });
});

describe('an API that counts what it is sent', () => {
  let api: Server;
  let gateway: RunningGateway;
  let putBytes: number;
  let puts: number;

  const begin = async (listStatus: number, changes: WrittenOptions): Promise<void> => {
    putBytes = 0;
    puts = 0;
    api = createServer((request, response) => {
      response.on('error', () => {});
      request.on('error', () => {});
      if (request.method === 'PUT') {
        puts += 1;
        request.on('data', (piece: Buffer) => {
          putBytes += piece.length;
        });
        request.on('end', () => response.writeHead(204).end());
      } else if (request.url?.startsWith('/v2/images?') === true) {
        response.writeHead(listStatus, { 'Content-Type': 'application/json' }).end('{"images": []}');
      } else response.writeHead(404).end();
    });
    api.listen(0, '127.0.0.1');
    await once(api, 'listening');
    const address = api.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    gateway = await startGateway({ upstream: { servers: [`http://127.0.0.1:${port}`] }, ...changes });
  };
  afterEach(async () => {
    await gateway.stop();
    const closed = once(api, 'close');
    api.close();
    api.closeAllConnections();
    await closed;
  });

  it('gets at most the quota of a body of unknown length that is over it', async () => {
    const total = 150_000;
    await begin(200, { ...totalOf(total), upload: { chunk_size: 64 * KiB } });
    const client = await gateway.uploading('6d1b3c1e-2f9e-4f43-9a55-0e9a0d1f7c11', chunked);
    void (async () => {
      for (let i = 0; i < 40; i += 1) await client.chunk(Buffer.alloc(10_000));
    })();
    const answer = await client.response();
    assert.equal(answer.status, 413);
    assert.equal(codeOf(answer.body), 'quota-exceeded');
    assert.equal(puts, 1);
    assert.equal(putBytes <= total, true, `${putBytes} bytes arrived of ${total} allowed`);
    assert.equal(gateway.gateway.savingBytes, 0);
  });

  it('and does not say what is stored gets no upload: 503 usage-unavailable with Retry-After', async () => {
    await begin(500, totalOf(1000));
    const client = await gateway.uploading(
      '6d1b3c1e-2f9e-4f43-9a55-0e9a0d1f7c11',
      ['Content-Length: 1'],
      ann,
    );
    const answer = await client.response();
    assert.equal(answer.status, 503);
    assert.equal(codeOf(answer.body), 'usage-unavailable');
    assert.deepEqual(answer.headers.get('retry-after'), ['5']);
    assert.equal(puts, 0);
    assert.equal(await gateway.metric('sluice_usage_readings_total{outcome="failed"}'), 1);
  });
});
