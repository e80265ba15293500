import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WrittenOptions } from '../../src/config/options.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

describe('a listener on a unix socket', () => {
  let folder: string;
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;

  const start = async (changes: WrittenOptions = {}): Promise<void> => {
    sluice = await TestGateway.start(upstream.port, {
      listen: [{ address: `unix:${join(folder, 's')}` }],
      quota: { usage: { source: 'none' } },
      ...changes,
    });
  };
  /** The status of an upload of nothing by ann that comes over the unix socket. */
  const upload = (headers: Readonly<Record<string, string>> = {}): Promise<number> =>
    new Promise((resolve, reject) => {
      const sent = request({
        socketPath: join(folder, 's'),
        method: 'PUT',
        path: `/v2/images/${randomUUID()}/file`,
        headers: { Host: 'x', 'X-User-Id': 'ann', 'X-Project-Id': 'blue', 'Content-Length': 0, ...headers },
        agent: false,
      });
      sent.on('error', reject);
      sent.on('response', (answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      });
      sent.end();
    });

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-unix-'));
    upstream = await ScriptedUpstream.start((connection) => connection.answer('204 No Content'));
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
    rmSync(folder, { recursive: true });
  });

  it('is believed who sends an upload where nothing is said', async () => {
    await start();
    assert.equal(await upload(), 204);
    assert.equal(upstream.connections[0]?.header('x-user-id'), 'ann');
  });

  it('is not believed where trusted_from does not name it', async () => {
    await start({ identity: { headers: { trusted_from: ['127.0.0.0/8', '0.0.0.0/0', '::/0'] } } });
    assert.equal(await upload(), 401);
    assert.equal(upstream.connections.length, 0);
  });

  it('is believed alone where trusted_from names nothing else', async () => {
    await start({ identity: { headers: { trusted_from: ['unix'] } } });
    assert.equal(await upload(), 204);
    const overTcp = await sluice.client();
    await overTcp.request(...uploadHead(randomUUID(), 'Content-Length: 0'));
    assert.equal((await overTcp.response()).status, 401);
    assert.equal(upstream.connections.length, 1);
  });

  for (const [trusted, client] of [
    [['unix'], '203.0.113.9'],
    [[], 'unix'],
  ] as const) {
    it(`tells the client by the forwarded address where trusted_proxies is [${trusted}]: ${client}`, async () => {
      await start({ trusted_proxies: [...trusted] });
      assert.equal(await upload({ 'X-Forwarded-For': '203.0.113.9' }), 204);
      assert.equal(sluice.lines[0]?.client, client);
    });
  }
});
