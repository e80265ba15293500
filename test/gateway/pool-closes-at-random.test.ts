import assert from 'node:assert/strict';
import { createCipheriv, createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { z } from 'zod';
import { Random } from '../fuzz/random.ts';
import { eventually } from '../support/eventually.ts';
import type { RawClient } from '../support/raw-client.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const MiB = 1024 * 1024;
const sizes = [0, 1, 1_000, 65_536, 65_537, MiB, 4 * MiB, 4 * MiB + 1, 5_000_000, 9 * MiB];
const framings = ['length', 'chunked', 'sized chunks'] as const;
const uploads = 60;
const pieceBytes = 300_000;
const passedBytes = 50_000;
const seed = 6060;

/** Bytes that no other upload has. */
function content(name: string, bytes: number): Buffer {
  const key = createHash('md5').update(name).digest();
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(bytes));
}

const hash = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** Closes its connections at moments that the seed says, but never while a request is under way. */
class RestlessUpstream {
  /** Hashes of the bodies that came whole, by image. */
  readonly stored = new Map<string, string[]>();
  /** Requests that began. */
  readonly begun: string[] = [];
  closes = 0;
  readonly #random = new Random(seed);
  readonly #server: Server;
  readonly #busy = new WeakSet<Socket>();

  constructor() {
    this.#server = createServer({ keepAliveTimeout: 0 }, (request, response) =>
      this.#serve(request, response),
    );
  }

  async start(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return z.object({ port: z.number() }).parse(this.#server.address()).port;
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const { socket, method = '' } = request;
    const image = request.url?.split('/')[3] ?? '';
    this.begun.push(`${method} ${image}`);
    this.#busy.add(socket);
    response.once('close', () => {
      this.#busy.delete(socket);
      this.#closeAtRandom(socket);
    });
    const sha = createHash('sha256');
    request.on('data', (piece: Buffer) => sha.update(piece));
    request.on('error', () => {});
    request.on('end', () => {
      if (method === 'GET') return void response.end(content(image, passedBytes));
      this.stored.set(image, [...(this.stored.get(image) ?? []), sha.digest('hex')]);
      response.writeHead(204).end();
    });
  }

  #closeAtRandom(socket: Socket): void {
    if (this.#random.chance(0.3)) return;
    const how = this.#random.pick(['end', 'destroy', 'reset']);
    const close = (): void => {
      if (this.#busy.has(socket) || socket.destroyed) return;
      this.closes += 1;
      if (how === 'end') socket.end();
      else if (how === 'destroy') socket.destroy();
      else socket.resetAndDestroy();
    };
    const waitMs = this.#random.below(12);
    if (waitMs === 0) close();
    else setTimeout(close, waitMs);
  }
}

describe(`${uploads} mixed uploads side by side, over a pool whose upstream closes at random`, () => {
  let upstream: RestlessUpstream;
  let sluice: TestGateway;

  beforeEach(async () => {
    upstream = new RestlessUpstream();
    sluice = await TestGateway.start(await upstream.start(), {
      quota: { limits: [{ per: 'project', saving: '4GiB' }], usage: { source: 'none' } },
    });
  });
  afterEach(async () => {
    await sluice.stop();
    upstream.stop();
  });

  async function upload(client: RawClient, image: string, i: number): Promise<string> {
    const framing = framings[i % framings.length];
    const bytes = content(`upload ${image}`, sizes[i % sizes.length] ?? 0);
    const fields =
      framing === 'length' ? [`Content-Length: ${bytes.length}`] : ['Transfer-Encoding: chunked'];
    if (framing === 'sized chunks') fields.push(`X-Openstack-Image-Size: ${bytes.length}`);
    const expects = i % 4 === 0;
    if (expects) fields.push('Expect: 100-continue');
    await client.request(...uploadHead(image, ...fields));
    if (expects) await client.receive('HTTP/1.1 100 Continue\r\n\r\n'.length);
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      const piece = bytes.subarray(at, at + pieceBytes);
      await (framing === 'length' ? client.write(piece) : client.chunk(piece));
    }
    if (framing !== 'length') await client.chunk('');
    const { status, informational } = await client.response();
    assert.equal(status, 204);
    assert.deepEqual(informational, expects ? [100] : []);
    return hash(bytes);
  }

  async function get(client: RawClient, image: string): Promise<void> {
    await client.request(`GET /v2/images/${image}/file HTTP/1.1`, 'Host: images');
    const { status, body } = await client.response();
    assert.equal(status, 200);
    assert.equal(body.equals(content(image, passedBytes)), true, 'a foreign byte');
  }

  it('loses none, sends none twice, and lets no foreign byte in', async function () {
    this.timeout(60_000);
    const images = Array.from({ length: uploads }, (_, i) => {
      const digits = String(i).padStart(12, '0');
      return `60606060-0000-4000-8000-${digits}`;
    });
    const hashes = await Promise.all(
      images.map(async (image, i) => {
        const client = await sluice.client();
        for (let count = 0; count < 4; count += 1) await get(client, image);
        const sent = await upload(client, image, i);
        for (let count = 0; count < 4; count += 1) await get(client, image);
        return sent;
      }),
    );
    for (const [i, image] of images.entries()) assert.deepEqual(upstream.stored.get(image), [hashes[i]]);
    assert.equal(
      upstream.begun.filter((each) => each.startsWith('PUT')).length,
      uploads,
      'each was sent once',
    );
    assert.equal(upstream.closes > uploads, true, `only ${upstream.closes} closes`);
    await eventually(() => assert.equal(sluice.gateway.savingBytes, 0), 'nothing is set aside');
    assert.equal(sluice.gateway.uploadsUnderWay, 0);
    assert.equal(await sluice.metric('sluice_uploads_total{ending="stored"}'), uploads);
  });
});
