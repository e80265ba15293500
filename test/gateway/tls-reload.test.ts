import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { z } from 'zod';
import { defaultConfig } from '../../src/config/load.ts';
import type { WrittenOptions } from '../../src/config/options.ts';
import { certificateFile, certificateText, certified, identityOf } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { RawClient } from '../support/raw-client.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { SluiceProcess } from '../support/sluice-process.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

type WrittenListener = NonNullable<WrittenOptions['listen']>[number];

const servingSchema = z.looseObject({ listen: z.array(z.string()), admin: z.string() });
const refusalSchema = z.looseObject({ errors: z.array(z.string()) });

/** Takes whatever certificate there is, and says whose it is. */
const shownTo = { checkServerIdentity: () => undefined };
const shownBy = ({ tls }: RawClient): string | string[] | undefined => tls?.getPeerCertificate().subject.CN;

describe('certificates that are written anew, and SIGHUP', () => {
  let folder: string;
  let file: string;
  let upstream: ScriptedUpstream;
  let sluice: SluiceProcess;
  let port: number;
  let admin: string;
  let clients: RawClient[];

  const install = (name: string): void => {
    writeFileSync(join(folder, 'cert.pem'), certificateText(`${name}.pem`));
    writeFileSync(join(folder, 'key.pem'), certificateText(`${name}.key`));
  };
  const connected = async (): Promise<RawClient> => {
    const client = await RawClient.secure(port, shownTo);
    clients.push(client);
    return client;
  };
  const reloadSuccess = async (): Promise<string | undefined> =>
    /^sluice_config_last_reload_success (\d)$/m.exec(
      await (await fetch(`http://${admin}/metrics`)).text(),
    )?.[1];

  beforeEach(async () => {
    clients = [];
    folder = mkdtempSync(join(tmpdir(), 'sluice-reload-'));
    file = join(folder, 'sluice.yaml');
    upstream = await ScriptedUpstream.start(async (connection) => {
      await connection.bodyComplete();
      connection.answer('204 No Content\r\nConnection: close');
    });
    install('server');
    const written: WrittenOptions = {
      listen: [{ address: '127.0.0.1:0', tls: { cert: 'cert.pem', key: 'key.pem' } }],
      admin: { address: '127.0.0.1:0' },
      upstream: { servers: [`http://127.0.0.1:${upstream.port}`], health: { interval: 0 } },
      quota: { usage: { source: 'none' } },
      upload: { watch_interval: 0 },
    };
    writeFileSync(file, stringify(written));
    sluice = new SluiceProcess(file);
    const { listen, admin: admins } = servingSchema.parse(await sluice.logged('serving'));
    port = Number(listen[0]?.split(':').at(-1));
    admin = admins;
  });
  afterEach(async () => {
    for (const client of clients) client.destroy();
    await sluice.kill();
    await upstream.stop();
    rmSync(folder, { recursive: true });
  });

  it('are shown to who connects then; an upload goes on with the one it began with', async () => {
    const before = await connected();
    await before.request(...uploadHead(randomUUID(), 'Content-Length: 2'));
    await before.write('x');
    await eventually(() => upstream.connections.some(({ bodyBytes }) => bodyBytes === 1));
    install('images');
    sluice.signal('SIGHUP');
    await sluice.logged('reloaded');
    assert.equal(shownBy(await connected()), 'images');
    await before.write('x');
    assert.equal((await before.response()).status, 204);
    // and so does what follows on its connection
    await before.request(...uploadHead(randomUUID(), 'Content-Length: 0'));
    assert.equal((await before.response()).status, 204);
    assert.deepEqual(
      sluice.lines.filter(({ msg }) => msg.includes('restart')),
      [],
    );
  });

  it('are not taken where one is wrong: the ones before stay, and the log says which is wrong and where', async () => {
    writeFileSync(join(folder, 'key.pem'), certificateText('images.key'));
    sluice.signal('SIGHUP');
    const refused = await sluice.logged('reload refused, the configuration before stays in force');
    assert.deepEqual(refusalSchema.parse(refused).errors, [
      `${file}:5:12: listen[0].tls.key: ${folder}/key.pem does not belong to the certificate (the first one, if it is a chain)`,
    ]);
    assert.equal(await reloadSuccess(), '0');
    assert.equal(shownBy(await connected()), 'server');
    install('images');
    sluice.signal('SIGHUP');
    await sluice.logged('reloaded');
    assert.equal(await reloadSuccess(), '1');
    assert.equal(shownBy(await connected()), 'images');
  });

  it('are warned of where one has expired, and shown all the same', async () => {
    writeFileSync(join(folder, 'cert.pem'), certificateText('expired.pem'));
    sluice.signal('SIGHUP');
    await sluice.logged('reloaded');
    assert.equal(
      sluice.lines.filter(({ msg }) => msg.includes('cert.pem of listener 127.0.0.1:0 has expired')).length,
      1,
    );
    const client = await RawClient.secure(port, { ...shownTo, rejectUnauthorized: false });
    clients.push(client);
    assert.equal(shownBy(client), 'expired');
  });
});

describe('a reload of what a listener says of TLS', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;

  const options = (...listen: readonly WrittenListener[]): WrittenOptions => ({
    listen: [...listen],
    quota: { usage: { source: 'none' } },
  });
  const start = async (...listen: readonly WrittenListener[]): Promise<void> => {
    sluice = await TestGateway.start(upstream.port, options(...listen));
  };
  const reload = (...listen: readonly WrittenListener[]): readonly string[] =>
    sluice.gateway.reload(
      defaultConfig({
        ...options({ address: '127.0.0.1:0' }, ...listen),
        admin: { address: '127.0.0.1:0' },
        upstream: { servers: [`http://127.0.0.1:${upstream.port}`], health: { interval: 0 } },
      }),
    ).needRestart;
  const upload = async (client: RawClient): Promise<number> => {
    await client.request(...uploadHead(randomUUID(), 'Content-Length: 0'));
    return (await client.response()).status;
  };
  const address = '127.0.0.1:0';
  const server = certified('server');

  beforeEach(async () => {
    upstream = await ScriptedUpstream.start((connection) => connection.answer('204 No Content'));
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  it('adds certificates by name and takes them away', async () => {
    const asked = async (): Promise<ReturnType<typeof shownBy>> =>
      shownBy(await sluice.secureClient({ ...shownTo, servername: 'images.example.org' }));
    await start({ address, tls: server });
    assert.equal(await asked(), 'server');
    assert.deepEqual(reload({ address, tls: { ...server, certificates: [certified('images')] } }), []);
    assert.equal(await asked(), 'images');
    assert.deepEqual(reload({ address, tls: server }), []);
    assert.equal(await asked(), 'server');
  });

  it('demands client certificates, also of who resumes a session of before', async () => {
    await start({ address, tls: server });
    const before = await sluice.secureClient({ maxVersion: 'TLSv1.2' });
    assert.equal(await upload(before), 204);
    const session = before.tls?.getSession();
    assert.deepEqual(
      reload({ address, tls: { ...server, client_ca: certificateFile('authority.pem') } }),
      [],
    );
    // whose connection it is was settled when it began
    assert.equal(await upload(before), 204);
    await assert.rejects(sluice.secureClient({ maxVersion: 'TLSv1.2', session }));
    assert.equal(await upload(await sluice.secureClient(identityOf('ann'))), 204);
  });

  it('shows in the metric when each certificate expires', async () => {
    const seconds = (name: string): Promise<number> =>
      sluice.metric(
        `sluice_tls_certificate_expiry_timestamp_seconds{listener="127.0.0.1:0",certificate="${certificateFile(name)}"}`,
      );
    await start({ address, tls: { ...server, certificates: [certified('images')] } });
    assert.equal((await seconds('server.pem')) > Date.UTC(2100, 0) / 1000, true);
    assert.equal((await seconds('images.pem')) > Date.UTC(2100, 0) / 1000, true);
    reload({ address, tls: { cert: certificateFile('expired.pem'), key: server.key } });
    assert.equal(await seconds('expired.pem'), Date.UTC(2001, 0) / 1000);
    assert.equal(await seconds('server.pem'), 0);
  });

  it('gives each listener its own, also where two take any free port', async () => {
    await start({ address, tls: server }, { address, tls: certified('images') });
    assert.deepEqual(reload({ address, tls: certified('images') }, { address, tls: server }), []);
    const shown = await Promise.all(
      sluice.ports.slice(1).map(async (port) => {
        const client = await RawClient.secure(port, shownTo);
        const shown = shownBy(client);
        client.destroy();
        return shown;
      }),
    );
    assert.deepEqual(shown, ['images', 'server']);
  });

  it('turns TLS off and on', async () => {
    await start({ address, tls: server });
    assert.deepEqual(reload({ address }), []);
    const client = await RawClient.connect(sluice.ports[1] ?? 0);
    assert.equal(await upload(client), 204);
    assert.deepEqual(reload({ address, tls: server }), []);
    // plain when it began, and so it stays
    assert.equal(await upload(client), 204);
    client.destroy();
    assert.equal(await upload(await sluice.secureClient()), 204);
  });

  it('needs a restart for another address only, and takes the rest of what it says', async () => {
    await start({ address, tls: server });
    const more = { address: '127.0.0.1:1', tls: server };
    assert.deepEqual(reload({ address, tls: certified('images') }, more), ['listen']);
    assert.equal(shownBy(await sluice.secureClient(shownTo)), 'images');
  });
});
