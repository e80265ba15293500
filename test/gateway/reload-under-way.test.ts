import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WrittenOptions } from '../../src/config/options.ts';
import { eventually } from '../support/eventually.ts';
import { FakeKeystone } from '../support/fake-keystone.ts';
import {
  type Headers,
  KiB,
  type RunningGateway,
  startGateway,
  testConfig,
} from '../support/running-gateway.ts';

/** An API with one image, over connections that it keeps, whose every answer is decided by the test. */
class OneImage {
  readonly id = randomUUID();
  /** What the API says of the image; null = it is gone. */
  record: Record<string, unknown> | null = { id: this.id, owner: 'blue', status: 'saving', size: null };
  /** The sum in the list of images. */
  storedBytes = 0;
  /** What becomes of an upload at the end of its body. */
  atEnd: 'stored' | 'vanish' = 'stored';
  uploads = 0;
  /** Connections on which the image was looked up since the list was emptied, open or not. */
  readonly askedOn = new Set<Socket>();
  readonly #server: Server = createServer((request, response) => void this.#answer(request, response));

  async start(): Promise<string> {
    this.#server.keepAliveTimeout = 0;
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    return `http://127.0.0.1:${address.port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url = '', socket } = request;
    request.on('error', () => {});
    if (url.startsWith('/v2/images?')) {
      const images = url.includes('os_hidden=true')
        ? []
        : [{ id: randomUUID(), status: 'active', owner: 'blue', size: this.storedBytes }];
      return this.#say(response, 200, { images });
    }
    if (method === 'GET') {
      this.askedOn.add(socket);
      return this.record === null ? this.#say(response, 404, {}) : this.#say(response, 200, this.record);
    }
    if (method === 'POST') return this.#say(response, 202, {});
    this.uploads += 1;
    request.resume();
    await once(request, 'end').catch(() => {});
    if (this.atEnd === 'vanish') socket.destroy();
    else response.writeHead(204).end();
  }

  #say(response: ServerResponse, status: number, document: object): void {
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(document));
  }
}

const reloads: Record<string, NonNullable<WrittenOptions['upstream']>> = {
  'with another upstream timeout': { response_timeout: 77 },
  'with the same upstream': {},
};

for (const [how, changed] of Object.entries(reloads)) {
  describe(`a reload ${how}, during what is under way,`, () => {
    let api: OneImage;
    let url: string;
    let gateway: RunningGateway;
    const options = (upstream: WrittenOptions['upstream'] = {}): WrittenOptions => ({
      upstream: { servers: [url], health: { interval: 0 }, ...upstream },
      upload: { watch_interval: '20ms', chunk_size: '64KiB', unknown_confirm: '100ms' },
      quota: { limits: [{ per: 'project', total: '100KiB' }], usage: { ttl: '1h' } },
    });
    const start = async (): Promise<void> => {
      gateway = await startGateway(options());
    };
    const reload = (): void => {
      api.askedOn.clear();
      gateway.gateway.reload(testConfig(options(changed)));
    };
    /** What was asked through since the reload is closed where it belonged to the configuration before. */
    const oldConnectionsGone = async (): Promise<void> => {
      if (how !== 'with another upstream timeout') return;
      assert.notEqual(api.askedOn.size, 0, 'something was asked after the reload');
      await eventually(() => [...api.askedOn].every(({ destroyed }) => destroyed), 'the old pool is closed');
    };

    beforeEach(async () => {
      api = new OneImage();
      url = await api.start();
    });
    afterEach(async () => {
      await gateway.stop();
      await api.stop();
    });

    it('leaves the watch of an upload: a delete that goes round the gateway ends it', async () => {
      await start();
      const client = await gateway.uploading(api.id, ['Content-Length: 60']);
      await client.write(Buffer.alloc(30));
      await eventually(() => api.uploads === 1);
      reload();
      await eventually(() => api.askedOn.size > 0, 'the image is looked up after the reload');
      api.record = null;
      const answer = await client.response();
      assert.equal(answer.status, 410);
      await eventually(() => gateway.gateway.savingBytes === 0);
      await oldConnectionsGone();
    });

    it('leaves an outcome nobody knows the way to its image', async () => {
      await start();
      api.atEnd = 'vanish';
      const client = await gateway.uploading(api.id, ['Content-Length: 60']);
      await client.write(Buffer.alloc(60));
      assert.equal((await client.response()).status, 502);
      assert.equal(gateway.gateway.savingBytes, 60);
      reload();
      api.record = { ...api.record, status: 'queued' };
      await eventually(() => gateway.gateway.savingBytes === 0, 'the image has said it');
      await oldConnectionsGone();
    });

    it('leaves a growing upload its fresh reading of what is stored', async () => {
      api.storedBytes = 90 * KiB;
      await start();
      const client = await gateway.uploading(api.id, ['Transfer-Encoding: chunked']);
      await client.chunk(Buffer.alloc(KiB));
      await eventually(() => api.uploads === 1);
      assert.equal(gateway.gateway.savingBytes, 10 * KiB);
      reload();
      // images were deleted: only a new reading can tell
      api.storedBytes = 0;
      await client.chunk(Buffer.alloc(90 * KiB));
      await client.chunk('');
      assert.equal((await client.response()).status, 204);
      assert.equal(gateway.gateway.savingBytes, 0);
      client.destroy();
    });

    it('leaves an import its watch', async () => {
      await start();
      api.record = {
        ...api.record,
        status: 'active',
        size: 100,
        stores: 'a',
        os_glance_importing_to_stores: 'b',
      };
      const called = await fetch(`${gateway.url}/v2/images/${api.id}/import`, {
        method: 'POST',
        headers: { 'X-User-Id': 'ann', 'X-Project-Id': 'blue', 'Content-Type': 'application/json' },
        body: JSON.stringify({ method: { name: 'copy-image' }, stores: ['b'] }),
      });
      assert.equal(called.status, 202);
      assert.equal(gateway.gateway.savingBytes, 100);
      reload();
      api.record = { ...api.record, stores: 'a,b', os_glance_importing_to_stores: '' };
      await eventually(() => gateway.gateway.savingBytes === 0, 'the import has ended');
      await oldConnectionsGone();
    });
  });
}

describe('a reload that changes how tokens are asked about', () => {
  it('leaves a request that waits for Keystone the rest of its questions', async () => {
    const keystone = await FakeKeystone.start();
    const folder = mkdtempSync(join(tmpdir(), 'sluice-test-'));
    writeFileSync(join(folder, 'password'), 'secret');
    keystone.accounts.set('sluice:secret', ['admin']);
    const api = new OneImage();
    const url = await api.start();
    const options = (cacheTtl: number): WrittenOptions => ({
      upstream: { servers: [url], health: { interval: 0 } },
      orphans: { interval: 0 },
      quota: { limits: [{ per: 'user', saving: '1KiB' }], usage: { source: 'none' } },
      identity: {
        source: 'keystone',
        keystone: {
          url: keystone.url,
          cache_ttl: cacheTtl,
          service_account: { user: 'sluice', project: 'service', password_file: join(folder, 'password') },
        },
      },
    });
    const gateway = await startGateway(options(300));
    try {
      const headers: Headers = { 'X-Auth-Token': keystone.issue({ user: 'ann', project: 'blue' }) };
      keystone.trouble = -1;
      const client = await gateway.uploading(api.id, ['Content-Length: 60'], headers);
      await eventually(() => keystone.hanging === 1, 'the service account logs in');
      gateway.gateway.reload(testConfig(options(200)));
      keystone.recover();
      // the token itself is asked about after the log-in
      await client.write(Buffer.alloc(60));
      assert.equal((await client.response()).status, 204);
    } finally {
      await gateway.stop();
      await api.stop();
      await keystone.stop();
      rmSync(folder, { recursive: true });
    }
  });
});
