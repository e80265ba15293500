import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Gateway } from '../../src/gateway.ts';
import { createLog } from '../../src/log.ts';
import { eventually } from '../support/eventually.ts';
import { RunningGateway, testConfig } from '../support/running-gateway.ts';
import { ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';

describe('bytes that are set aside for nothing that runs here', () => {
  const image = randomUUID();
  let upstream: ScriptedUpstream;
  let gateway: RunningGateway;
  let lines: Record<string, unknown>[];
  let record: Record<string, unknown>;
  /** Look-ups that are not answered until the test says so; null = all are answered at once. */
  let held: (() => void)[] | null;

  beforeEach(async () => {
    lines = [];
    held = null;
    record = { id: image, owner: 'blue', status: 'saving', size: null };
    upstream = await ScriptedUpstream.start(async (connection) => {
      const [method, target = ''] = connection.head.split(' ');
      const answer = (line: string, document: object): void => {
        connection.answer(`${line}\r\nConnection: close`, JSON.stringify(document));
        connection.end();
      };
      if (method === 'PUT') return await vanish(connection);
      if (method === 'POST') return answer('202 Accepted', {});
      if (target.startsWith('/v2/images?')) return answer('200 OK', { images: [] });
      if (held === null) return answer('200 OK', record);
      held.push(() => answer('200 OK', record));
    });
    const log = createLog('info', { write: (line: string) => lines.push(JSON.parse(line)) });
    const running = new Gateway(
      testConfig({
        upstream: { servers: [`http://127.0.0.1:${upstream.port}`], health: { interval: 0 } },
        upload: { watch_interval: 0, unknown_confirm: '100ms' },
        quota: { limits: [{ per: 'project', total: 1000 }] },
      }),
      log,
      'test',
    );
    await running.start();
    gateway = new RunningGateway(running);
  });
  afterEach(async () => {
    await gateway.stop();
    await upstream.stop();
  });

  const vanish = async (connection: UpstreamConnection): Promise<void> => {
    await connection.bodyComplete();
    connection.reset();
  };
  const cancel = async (id: string): Promise<number> =>
    (await fetch(`${gateway.adminUrl}/uploads/${id}`, { method: 'DELETE' })).status;
  const beginUnknown = async (): Promise<string> => {
    const client = await gateway.uploading(image, ['Content-Length: 60']);
    await client.write(Buffer.alloc(60));
    assert.equal((await client.response()).status, 502);
    const [row] = (await gateway.uploads()).uploads;
    return row?.id ?? '';
  };

  it('of an upload whose outcome nobody knows are a row that says so', async () => {
    const begun = await beginUnknown();
    const { uploads, saving_bytes } = await gateway.uploads();
    assert.equal(saving_bytes, 60);
    const [row, ...more] = uploads;
    const { id, started_at, ...rest } = row ?? assert.fail('there is a row');
    assert.deepEqual(more, []);
    assert.equal(id, begun);
    assert.equal(Date.parse(started_at) <= Date.now(), true);
    assert.deepEqual(rest, {
      image,
      owner: { user: 'ann', project: 'blue' },
      lane: 'stream',
      declared_bytes: 60,
      received_bytes: 60,
      sent_bytes: 60,
      reserved_bytes: 60,
      client: '127.0.0.1',
      upstream: `127.0.0.1:${upstream.port}`,
      ending: 'unknown',
    });
    record = { ...record, status: 'queued' };
    await eventually(async () => assert.deepEqual(await gateway.uploads(), { uploads: [], saving_bytes: 0 }));
  });

  it('of such an upload are given back at once when an operator wants it, and the log says so', async () => {
    const id = await beginUnknown();
    assert.equal(await cancel(id), 204);
    assert.deepEqual(await gateway.uploads(), { uploads: [], saving_bytes: 0 });
    const line = lines.find(({ msg }) => msg === 'upload of unknown outcome given up by an operator');
    assert.deepEqual([line?.upload, line?.image, line?.reserved_bytes], [id, image, 60]);
    assert.equal(await cancel(id), 404);
    assert.equal(await gateway.metric('sluice_uploads_unresolved'), 0);
  });

  it('of such an upload stay given back, whatever a look that was under way finds', async () => {
    const id = await beginUnknown();
    const looks: (() => void)[] = [];
    held = looks;
    await eventually(() => looks.length === 1, 'a look is under way');
    assert.equal(await cancel(id), 204);
    record = { ...record, status: 'active', size: 60 };
    looks[0]?.();
    held = null;
    // 1,000 bytes fit: none of the sixty count as stored. The answer comes after that of the look.
    const after = await gateway.uploading(image, ['Content-Length: 1000']);
    await after.write(Buffer.alloc(1000));
    assert.equal((await after.response()).status, 502);
    assert.equal(
      lines.some(({ msg }) => msg === 'upload of unknown outcome resolved'),
      false,
    );
  });

  it('of an import are a row in the lane of imports, and an operator can give it up', async () => {
    record = { ...record, status: 'active', size: 100, stores: 'a', os_glance_importing_to_stores: 'b' };
    const called = await fetch(`${gateway.url}/v2/images/${image}/import`, {
      method: 'POST',
      headers: { 'X-User-Id': 'ann', 'X-Project-Id': 'blue', 'Content-Type': 'application/json' },
      body: JSON.stringify({ method: { name: 'copy-image' }, stores: ['b'] }),
    });
    assert.equal(called.status, 202);
    const row = await eventually(async () => (await gateway.uploads()).uploads[0] ?? null, 'the row');
    const { id, started_at, ...rest } = row;
    assert.equal(Date.parse(started_at) <= Date.now(), true);
    assert.deepEqual(rest, {
      image,
      owner: { user: 'ann', project: 'blue' },
      lane: 'import',
      declared_bytes: 100,
      received_bytes: 0,
      sent_bytes: 0,
      reserved_bytes: 100,
      client: '127.0.0.1',
      upstream: `127.0.0.1:${upstream.port}`,
      ending: null,
    });
    assert.equal(await cancel(id), 204);
    assert.deepEqual(await gateway.uploads(), { uploads: [], saving_bytes: 0 });
    assert.equal(
      lines.some(({ msg }) => msg === 'import given up by an operator'),
      true,
    );
    assert.equal(await cancel(id), 404);
    assert.equal(await gateway.metric('sluice_imports_watched'), 0);
  });
});
