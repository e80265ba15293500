import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { z } from 'zod';
import type { WrittenOptions } from '../../src/config/options.ts';
import { eventually } from '../support/eventually.ts';
import { RawClient } from '../support/raw-client.ts';
import { codeOf, uploadHead } from '../support/running-gateway.ts';
import { SluiceProcess } from '../support/sluice-process.ts';
import { uploadsUnderWay } from '../support/test-gateway.ts';

const servingSchema = z.looseObject({ listen: z.array(z.string()), admin: z.string() });

/** What every upload holds. */
const body = Buffer.alloc(200_000, 'x');
const half = body.length / 2;

describe('a process with 50 uploads under way', () => {
  let folder: string;
  let file: string;
  let api: Server;
  /** Bytes of each upload that was taken whole. */
  let taken: number[];
  let sluice: SluiceProcess;
  let port: number;
  let adminPort: number;
  const clients: RawClient[] = [];

  const write = (more: WrittenOptions = {}): void => {
    const address = api.address();
    const apiPort = typeof address === 'object' ? address?.port : 0;
    const written: WrittenOptions = {
      listen: [{ address: '127.0.0.1:0' }],
      admin: { address: '127.0.0.1:0' },
      upstream: { servers: [`http://127.0.0.1:${apiPort}`] },
      quota: { usage: { source: 'none' } },
      upload: { watch_interval: 0 },
      log: { access: false },
      ...more,
    };
    writeFileSync(file, stringify(written));
  };
  const start = async (more: WrittenOptions = {}): Promise<void> => {
    write(more);
    sluice = new SluiceProcess(file);
    const { listen, admin } = servingSchema.parse(await sluice.logged('serving'));
    port = Number(listen[0]?.split(':').at(-1));
    adminPort = Number(admin.split(':').at(-1));
  };
  const connect = async (): Promise<RawClient> => {
    const client = await RawClient.connect(port);
    clients.push(client);
    return client;
  };
  /** Half of them say their length, the others come in chunks. */
  const begin = async (
    _: unknown,
    i: number,
  ): Promise<{ finish: () => Promise<number>; client: RawClient }> => {
    const client = await connect();
    const chunked = i % 2 === 1;
    const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`;
    await client.request(...uploadHead(randomUUID(), [framing]));
    const send = (bytes: Buffer): Promise<void> => (chunked ? client.chunk(bytes) : client.write(bytes));
    await send(body.subarray(0, half));
    return {
      client,
      finish: async () => {
        await send(body.subarray(half));
        if (chunked) await client.chunk('');
        const { status } = await client.response();
        client.destroy();
        return status;
      },
    };
  };
  const fiftyHalfSent = async (): Promise<Awaited<ReturnType<typeof begin>>[]> => {
    const uploads = await Promise.all(Array.from({ length: 50 }, begin));
    await eventually(async () => {
      const rows = await uploadsUnderWay(adminPort);
      return rows.length === 50 && rows.every(({ received_bytes }) => received_bytes === half);
    }, 'fifty are under way');
    return uploads;
  };
  const refusesConnections = (): Promise<boolean> =>
    RawClient.connect(port).then(
      (client) => {
        client.destroy();
        return false;
      },
      () => true,
    );

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-load-'));
    file = join(folder, 'sluice.yaml');
    taken = [];
    api = createServer((request, response) => {
      let bytes = 0;
      request.on('data', (piece: Buffer) => {
        bytes += piece.length;
      });
      request.on('error', () => {});
      request.on('end', () => {
        if (request.method !== 'PUT') return void response.end('{}');
        taken.push(bytes);
        response.writeHead(204).end();
      });
    });
    // only the gateway closes its connections
    api.keepAliveTimeout = 60_000;
    api.listen(0, '127.0.0.1');
    await once(api, 'listening');
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy();
    await sluice.kill();
    api.closeAllConnections();
    api.close();
    rmSync(folder, { recursive: true });
  });

  it('takes no new one after SIGTERM, lets all of them finish, and ends with 0', async () => {
    await start({ shutdown_grace: '60s' });
    const uploads = await fiftyHalfSent();
    // a connection that is there already must not bring a new upload in either
    const early = await connect();
    await early.request('GET /v2/images HTTP/1.1', 'Host: x');
    assert.equal((await early.response()).status, 200);
    sluice.signal('SIGTERM');
    const { uploads: left, bytes_to_come: toCome } = await sluice.logged('draining');
    assert.deepEqual([left, toCome], [50, 25 * half]);
    assert.notEqual(await early.closed, 'local');
    await eventually(refusesConnections, 'no connection is taken');
    assert.deepEqual(await Promise.all(uploads.map(({ finish }) => finish())), Array(50).fill(204));
    assert.equal(await sluice.ended, 0);
    assert.deepEqual(taken, Array(50).fill(body.length));
    assert.equal(sluice.lines.at(-1)?.msg, 'drained');
  });

  it('tells each of them when shutdown_grace is over, and ends with 0', async () => {
    await start({ shutdown_grace: '1s' });
    const uploads = await fiftyHalfSent();
    sluice.signal('SIGTERM');
    const answers = await Promise.all(
      uploads.map(async ({ client }) => {
        const { status, body: told } = await client.response();
        client.end();
        return `${status} ${codeOf(told)}`;
      }),
    );
    assert.deepEqual(answers, Array(50).fill('503 shutting-down'));
    assert.equal(await sluice.ended, 0);
    assert.deepEqual(taken, []);
  });

  it('reads its file 100 times, one configuration and another in turn, and no request fails', async function () {
    this.timeout(60_000);
    await start();
    const descriptors = (): number => readdirSync(`/proc/${sluice.pid}/fd`).length;
    const before = descriptors();
    const uploads = await fiftyHalfSent();
    let signals = true;
    const statuses = new Map<number, number>();
    const count = (status: number): void => void statuses.set(status, (statuses.get(status) ?? 0) + 1);
    const workers = Array.from({ length: 4 }, async (_, i) => {
      while (signals) {
        const one = await begin(null, i);
        count(await one.finish());
        const asking = await connect();
        await asking.request('GET /v2/images HTTP/1.1', 'Host: x');
        count((await asking.response()).status);
        asking.destroy();
      }
    });
    for (let i = 1; i <= 100; i += 1) {
      write(
        i % 2 === 1
          ? {
              max_uploads: 100,
              upstream: { ...upstreamOf(), connect_timeout: 7 },
              identity: { headers: { trusted_from: ['127.0.0.1'] } },
            }
          : {},
      );
      sluice.signal('SIGHUP');
      await sluice.logged('reloaded', i);
    }
    signals = false;
    await Promise.all(workers);
    assert.deepEqual([...statuses.keys()].toSorted(), [200, 204]);
    assert.deepEqual(await Promise.all(uploads.map(({ finish }) => finish())), Array(50).fill(204));
    assert.equal(
      taken.every((bytes) => bytes === body.length),
      true,
    );
    assert.equal(taken.length, 50 + (statuses.get(204) ?? 0));
    if (process.platform === 'linux') {
      // a few connections of the pool in force and of the health check, and the 16 idle pipes that the splice lane keeps; each
      // reload left behind would be one more
      await eventually(() => descriptors() <= before + 10 + 2 * 16, 'no configuration keeps its connections');
    }
  });

  const upstreamOf = (): { servers: string[] } => {
    const address = api.address();
    return { servers: [`http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`] };
  };
});
