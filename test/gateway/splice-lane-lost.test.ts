import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { WrittenOptions } from '../../src/config/options.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import type { SpliceEngine } from '../../src/lanes/kernel/splice-engine.ts';
import { eventually } from '../support/eventually.ts';
import { LogLines } from '../support/log-lines.ts';
import type { RawClient } from '../support/raw-client.ts';
import { codeOf } from '../support/running-gateway.ts';
import { type Script, ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const options: WrittenOptions = {
  quota: { mode: 'enforce', limits: [{ per: 'project', saving: '1GiB' }], usage: { source: 'none' } },
  upload: { lane: 'auto', splice_from: 0, watch_interval: 0, flush_after: '1ms' },
};

const stores: Script = async (connection) => {
  await connection.bodyComplete();
  connection.answer('204 No Content');
};

/** Fields that say the framing of 1 MiB. */
const framings = {
  length: [`Content-Length: ${MiB}`],
  chunked: ['Transfer-Encoding: chunked'],
  declared: ['Transfer-Encoding: chunked', `X-Openstack-Image-Size: ${MiB}`],
} as const;

describe('a gateway whose splice lane dies', () => {
  let engine: SpliceEngine;
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;
  let log: LogLines;

  before(function () {
    if (process.platform !== 'linux') this.skip();
  });
  beforeEach(async () => {
    const { SpliceEngine } = await import('../../src/lanes/kernel/splice-engine.ts');
    log = new LogLines();
    upstream = await ScriptedUpstream.start(stores);
    sluice = await TestGateway.start(upstream.port, options, log, async () => {
      engine = await SpliceEngine.start();
      return engine;
    });
  });
  afterEach(async () => {
    await sluice?.stop();
    await upstream?.stop();
    await engine?.kill();
  });

  const begin = async (framing: keyof typeof framings, bytes = 100 * KiB): Promise<RawClient> => {
    const client = await sluice.client();
    await client.request(...uploadHead(randomUUID(), ...framings[framing]));
    const body = Buffer.alloc(bytes);
    await (framing === 'length' ? client.write(body) : client.chunk(body));
    return client;
  };

  /** What is under way is in the kernel: nobody else would see it die. */
  const inKernel = (count: number): Promise<unknown> =>
    eventually(async () => {
      assert.equal(engine.running, count);
      const rows = await sluice.uploads();
      assert.deepEqual(
        rows.map((row) => [row.lane, row.received_bytes]),
        Array(rows.length).fill(['splice', 100 * KiB]),
      );
    });

  const lost = async (): Promise<void> => {
    assert.equal(await sluice.metric('sluice_splice_lane_up'), 1);
    await engine.kill();
  };

  it('tells each client 500 and resets each upstream, and no reserved byte is left', async () => {
    const clients: RawClient[] = [];
    for (const framing of ['length', 'chunked', 'declared', 'length', 'chunked', 'declared'] as const)
      clients.push(await begin(framing));
    await inKernel(clients.length);
    assert.ok(sluice.gateway.savingBytes >= clients.length * MiB, 'it is reserved');
    await lost();
    for (const client of clients) {
      const { status, body, headers } = await client.response();
      assert.deepEqual([status, codeOf(body)], [500, 'internal']);
      assert.deepEqual(headers.get('connection'), ['close'], 'the rest of its body is nobody else’s request');
    }
    for (const connection of upstream.connections) assert.equal(await connection.closed, 'reset');
    assert.equal(sluice.gateway.savingBytes, 0);
    assert.equal(await sluice.metric('sluice_uploads_in_flight'), 0);
    await eventually(() => assert.equal(sluice.lines.length, clients.length));
    for (const { error, status } of sluice.lines) assert.deepEqual([error, status], ['internal', 500]);
  });

  it('says so once, in the log and in its metric', async () => {
    const clients = [await begin('length'), await begin('chunked')];
    await inKernel(clients.length);
    await lost();
    for (const client of clients) await client.response();
    assert.equal(await sluice.metric('sluice_splice_lane_up'), 0);
    const said = log.said('splice lane lost, bodies are streamed from now on');
    assert.deepEqual(
      said.map(({ level, reason }) => [level, reason]),
      [['error', 'its thread ended']],
    );
    assert.deepEqual(log.said('defect'), []);
  });

  for (const framing of ['length', 'chunked', 'declared'] as const) {
    it(`streams what comes then (${framing})`, async () => {
      await begin('length');
      await inKernel(1);
      await lost();
      const client = await begin(framing);
      await eventually(async () => {
        const rows = await sluice.uploads();
        assert.deepEqual(
          rows.map((row) => [row.lane, row.received_bytes]),
          [['stream', 100 * KiB]],
        );
      });
      const rest = Buffer.alloc(MiB - 100 * KiB);
      void (framing === 'length' ? client.write(rest) : client.chunk(rest));
      if (framing !== 'length') void client.chunk('');
      assert.equal((await client.response()).status, 204);
    });
  }

  it('cuts a download in the middle, so that nobody takes it for whole', async () => {
    const answered: UpstreamConnection[] = [];
    upstream.script = (connection) => {
      connection.write(`HTTP/1.1 200 OK\r\nContent-Length: ${MiB}\r\n\r\n`);
      connection.write(Buffer.alloc(100 * KiB));
      answered.push(connection);
    };
    const client = await sluice.client();
    await client.request(`GET /v2/images/${randomUUID()}/file HTTP/1.1`, 'Host: images');
    await eventually(() => assert.equal(engine.running, 1), 'it is in the kernel');
    await client.receive(100 * KiB);
    await lost();
    await assert.rejects(client.response(), /the connection ended/);
    for (const connection of answered) assert.equal(await connection.closed, 'reset');
  });
});
