import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../bench/measure/free-port.ts';
import { PeerProcess } from '../../nginx-compare/peer-process.ts';
import { FakeKeystone } from '../support/fake-keystone.ts';

const program = fileURLToPath(new URL('../../nginx-compare/quota-service.ts', import.meta.url));
const limitBytes = 1_000;

describe('The quota service beside nginx', () => {
  let keystone: FakeKeystone;
  let service: PeerProcess;
  let folder: string;
  let port: number;
  let token: string;

  beforeEach(async () => {
    keystone = await FakeKeystone.start();
    token = keystone.issue({ user: 'ann', project: 'blue' });
    folder = await mkdtemp(join(tmpdir(), 'sluice-quota-service-'));
    port = await freePort();
    service = await PeerProcess.start({
      command: [process.execPath, '--import=tsx', program, `${port}`, keystone.url, `${limitBytes}`],
      port,
      file: join(folder, 'printed.log'),
    });
  });
  afterEach(async () => {
    await service.stop();
    await keystone.stop();
    await rm(folder, { recursive: true });
  });

  /** What nginx would be told about an upload of so many bytes. */
  const asked = async (id: string, bytes: number, shown = token): Promise<number> => {
    const headers = {
      'X-Auth-Token': shown,
      'X-Request-Id': id,
      'X-Request-Method': 'PUT',
      'X-Request-Length': `${bytes}`,
    };
    return (await fetch(`http://127.0.0.1:${port}/admit`, { headers })).status;
  };
  /** As nginx says that a request has ended, in a datagram of syslog. */
  const ended = (id: string, status: number, bytes: number): void => {
    const socket = createSocket('udp4');
    const told = `<190>Nov 24 20:00:00 nginx: ${JSON.stringify({ id, status, bytes })}`;
    socket.send(told, port, '127.0.0.1', () => socket.close());
  };

  it('lets in what fits to the last byte, and refuses one more', async () => {
    assert.equal(await asked('a', limitBytes - 1), 204);
    assert.equal(await asked('b', 2), 403);
    assert.equal(await asked('c', 1), 204);
    assert.equal(await asked('d', 1), 403);
  });

  it('gives back the bytes of what was not stored, and keeps those of what was', async () => {
    assert.equal(await asked('a', limitBytes), 204);
    ended('a', 502, 0);
    while ((await asked('b', limitBytes)) !== 204) await sleep(10);
    ended('b', 204, limitBytes - 10);
    while ((await asked('c', 10)) !== 204) await sleep(10);
    assert.equal(await asked('d', 1), 403);
  });

  it('knows who asks by Keystone, and asks it once', async () => {
    assert.equal(await asked('a', 1, 'nobody'), 401);
    const before = keystone.validations;
    assert.equal(await asked('b', 1), 204);
    assert.equal(await asked('c', 1), 204);
    assert.equal(keystone.validations - before, 1);
  });
});
