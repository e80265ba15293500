import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { eventually } from '../support/eventually.ts';
import { FakeKeystone } from '../support/fake-keystone.ts';
import { type RunningGateway, startGateway } from '../support/running-gateway.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';

const report = z.object({
  orphans: z.array(z.object({ image: z.string(), owner: z.string().nullable(), since: z.string() })),
  scanned_at: z.string().nullable(),
  problem: z.string().nullable(),
});
const uploading = '11111111-1111-4111-8111-111111111111';
const left = '22222222-2222-4222-8222-222222222222';

describe('an image that was left in saving', () => {
  let keystone: FakeKeystone;
  let upstream: ScriptedUpstream;
  let sluice: RunningGateway;
  let folder: string;
  /** Images in `saving`, as the API lists them. */
  let saving: { id: string; updated_at: string; hidden?: boolean }[];

  const start = async (minAge: string, account = true): Promise<void> => {
    sluice = await startGateway({
      upstream: { servers: [`http://127.0.0.1:${upstream.port}`], health: { interval: 0 } },
      orphans: { interval: '30ms', min_age: minAge },
      upload: { watch_interval: 0 },
      quota: { mode: 'off' },
      ...(account && {
        identity: {
          keystone: {
            url: keystone.url,
            service_account: { user: 'sluice', project: 'service', password_file: join(folder, 'password') },
          },
        },
      }),
    });
  };
  const reported = async (): Promise<z.infer<typeof report>> =>
    report.parse(await (await fetch(`${sluice.adminUrl}/orphans`)).json());

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-orphans-'));
    writeFileSync(join(folder, 'password'), 'secret\n');
    keystone = await FakeKeystone.start();
    keystone.accounts.set('sluice:secret', ['admin']);
    saving = [];
    upstream = await ScriptedUpstream.start((connection) => {
      if (!connection.head.startsWith('GET /v2/images?')) return;
      const hidden = connection.head.includes('os_hidden=true');
      const images = saving
        .filter((image) => (image.hidden ?? false) === hidden)
        .map(({ id, updated_at }) => ({ id, updated_at, status: 'saving', owner: 'blue' }));
      connection.answer('200 OK\r\nConnection: close', JSON.stringify({ images }));
      connection.end();
    });
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
    await keystone.stop();
    rmSync(folder, { recursive: true });
  });

  it('is reported with its owner, hidden or not, until it is gone', async () => {
    saving = [
      { id: left, updated_at: '2026-01-01T00:00:00Z' },
      { id: uploading, updated_at: '2026-01-01T00:00:00Z', hidden: true },
    ];
    await start('1s');
    const { orphans, scanned_at, problem } = await eventually(async () => {
      const found = await reported();
      return found.orphans.length === 2 && found;
    }, 'both are reported');
    assert.deepEqual(orphans[0], { image: left, owner: 'blue', since: '2026-01-01T00:00:00Z' });
    assert.ok(scanned_at !== null, 'no time of the look');
    assert.equal(problem, null);
    assert.equal(await sluice.metric('sluice_orphans'), 2);
    saving = [];
    await eventually(async () => (await reported()).orphans.length === 0, 'none is reported any more');
  });

  it('is not one while an upload of ours is behind it', async () => {
    await start('0');
    const client = await sluice.uploading(uploading, ['Content-Length: 5']);
    await eventually(async () => (await sluice.uploads()).uploads.length === 1, 'it is under way');
    saving = [uploading, left].map((id) => ({ id, updated_at: '2026-01-01T00:00:00Z' }));
    const { orphans } = await eventually(async () => {
      const found = await reported();
      return found.orphans.length > 0 && found;
    }, 'the other one is reported');
    assert.deepEqual(
      orphans.map(({ image }) => image),
      [left],
    );
    client.reset();
    await eventually(
      async () => (await reported()).orphans.length === 2,
      'its upload has gone, and it stayed',
    );
  });

  it('is not one yet when it changed a moment ago', async () => {
    const now = new Date().toISOString();
    saving = [
      { id: left, updated_at: now },
      { id: uploading, updated_at: '2026-01-01T00:00:00Z' },
    ];
    await start('1h');
    await eventually(async () => (await reported()).orphans.length > 0, 'a look came to its end');
    assert.deepEqual(
      (await reported()).orphans.map(({ image }) => image),
      [uploading],
    );
  });

  it('is not looked for without an account, or with one that is no administrator, and the report says so', async () => {
    await start('0', false);
    assert.deepEqual(await reported(), {
      orphans: [],
      scanned_at: null,
      problem: 'identity.keystone.service_account is not set',
    });
    await sluice.stop();
    keystone.accounts.set('sluice:secret', ['reader']);
    await start('0');
    await eventually(async () => {
      assert.equal((await reported()).problem, 'the service account is no administrator');
    }, 'the report says so');
  });
});
