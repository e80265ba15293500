import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { z } from 'zod';
import type { WrittenOptions } from '../../src/config/options.ts';
import { eventually } from '../support/eventually.ts';
import { RawClient } from '../support/raw-client.ts';
import { uploadHead } from '../support/running-gateway.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { type LogLine, SluiceProcess } from '../support/sluice-process.ts';

const servingSchema = z.looseObject({ listen: z.array(z.string()) });

describe('a process that has not looked at its upstream yet', () => {
  let folder: string;
  let file: string;
  let upstream: ScriptedUpstream;
  let sluice: SluiceProcess;
  const write = (more: WrittenOptions = {}): void => {
    const written: WrittenOptions = {
      listen: [{ address: '127.0.0.1:0' }],
      admin: { address: '127.0.0.1:0' },
      upstream: { servers: [`http://127.0.0.1:${upstream.port}`], health: { timeout: '60s' } },
      quota: { usage: { source: 'none' } },
      upload: { watch_interval: 0 },
      ...more,
    };
    writeFileSync(file, stringify(written));
  };
  const portOf = (serving: LogLine): number =>
    Number(servingSchema.parse(serving).listen[0]?.split(':').at(-1));

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-signals-'));
    file = join(folder, 'sluice.yaml');
    upstream = await ScriptedUpstream.start(async (connection) => {
      // the question whether it is well hangs for ever
      if (!connection.head.startsWith('PUT')) return;
      await connection.bodyComplete();
      connection.answer('204 No Content\r\nConnection: close');
    });
    write();
    sluice = new SluiceProcess(file);
  });
  afterEach(async () => {
    await sluice.kill();
    await upstream.stop();
    rmSync(folder, { recursive: true });
  });

  it('reloads on SIGHUP and drains on SIGTERM: the upload under way is stored', async () => {
    const client = await RawClient.connect(portOf(await sluice.logged('serving')));
    await client.request(...uploadHead(randomUUID(), ['Content-Length: 2']));
    await client.write('x');
    await eventually(() => upstream.connections.some(({ bodyBytes }) => bodyBytes === 1));

    write({ listen: [{ address: '127.0.0.1:1' }], log: { level: 'debug' } });
    sluice.signal('SIGHUP');
    await sluice.logged('reloaded');
    const { keys } = await sluice.logged('these keys have changed, and need a restart to take effect');
    assert.deepEqual(keys, ['listen']);

    sluice.signal('SIGTERM');
    const { uploads, declared_bytes, bytes_to_come } = await sluice.logged('draining');
    assert.deepEqual(
      { uploads, declared_bytes, bytes_to_come },
      { uploads: 1, declared_bytes: 2, bytes_to_come: 1 },
    );
    await client.write('x');
    assert.equal((await client.response()).status, 204);
    client.destroy();
    assert.equal(await sluice.ended, 0);
    assert.equal(sluice.lines.at(-1)?.msg, 'drained');
  });

  it('ends at once on a second SIGTERM', async () => {
    const client = await RawClient.connect(portOf(await sluice.logged('serving')));
    await client.request(...uploadHead(randomUUID(), ['Content-Length: 2']));
    await client.write('x');
    await eventually(() => upstream.connections.some(({ bodyBytes }) => bodyBytes === 1));
    sluice.signal('SIGTERM');
    await sluice.logged('draining');
    sluice.signal('SIGTERM');
    assert.equal(await sluice.ended, 0);
    client.destroy();
  });
});
