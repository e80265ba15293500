import assert from 'node:assert/strict';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ImageApi, type ImageApiOptions, startImageApi } from '../../src/demo/image-api.ts';
import { eventually } from '../support/eventually.ts';
import { RawClient } from '../support/raw-client.ts';

const ann = { 'X-User-Id': 'ann', 'X-Project-Id': 'blue' };
const eve = { 'X-User-Id': 'eve', 'X-Project-Id': 'red' };
const octets = { 'Content-Type': 'application/octet-stream' };
const rawHead = [
  'Host: images',
  'X-User-Id: ann',
  'X-Project-Id: blue',
  'Accept: application/json',
  'Content-Type: application/octet-stream',
];
const chunked = 'Transfer-Encoding: chunked';
const pieceBytes = 64 * 1024;

/** The ways in which an uploader goes away. */
const aborts: readonly (readonly [string, (client: RawClient) => unknown])[] = [
  ['RST', (client) => client.reset()],
  ['FIN', (client) => client.end()],
];

it('the embedded image API asked twice to stop is stopped, and its folder gone, both times', async () => {
  const parent = mkdtempSync(join(tmpdir(), 'sluice-test-'));
  try {
    const api = await startImageApi({ port: 0, directory: parent });
    void api.stop();
    await api.stop();
    assert.deepEqual(readdirSync(parent), []);
  } finally {
    rmSync(parent, { recursive: true });
  }
});

describe('the embedded image API', () => {
  let api: ImageApi;
  let parent: string;
  const clients: RawClient[] = [];

  const start = async (options: Partial<ImageApiOptions> = {}): Promise<void> => {
    api = await startImageApi({ port: 0, directory: parent, ...options });
  };

  const call = async (
    method: string,
    path: string,
    options: { headers?: Record<string, string>; body?: string | Uint8Array<ArrayBuffer> } = {},
  ): Promise<Response> =>
    fetch(`${api.url}${path}`, {
      method,
      headers: { ...ann, Accept: 'application/json', ...options.headers },
      ...(options.body === undefined ? {} : { body: options.body }),
      redirect: 'manual',
    });

  const create = async (document: object = {}): Promise<string> => {
    const response = await call('POST', '/v2/images', { body: JSON.stringify(document) });
    assert.equal(response.status, 201);
    return String(parsed(await response.json()).id);
  };

  const record = async (id: string): Promise<Record<string, unknown>> => {
    const response = await call('GET', `/v2/images/${id}`);
    assert.equal(response.status, 200);
    return parsed(await response.json());
  };

  const upload = async (
    id: string,
    body: string | Uint8Array<ArrayBuffer>,
    headers: Record<string, string> = {},
  ): Promise<Response> => call('PUT', `/v2/images/${id}/file`, { headers: { ...octets, ...headers }, body });

  const raw = async (): Promise<RawClient> => {
    const client = await RawClient.connect(api.port);
    clients.push(client);
    return client;
  };

  /** Begins an upload and returns once the API has stored the first piece of it. */
  const begun = async (path: string, framing: string): Promise<RawClient> => {
    const client = await raw();
    const storedBefore = api.storedBytes();
    await client.request(`PUT ${path} HTTP/1.1`, ...rawHead, framing);
    await (framing === chunked
      ? client.chunk(randomBytes(pieceBytes))
      : client.write(randomBytes(pieceBytes)));
    await eventually(() => assert.equal(api.storedBytes(), storedBefore + pieceBytes));
    return client;
  };

  beforeEach(async () => {
    parent = mkdtempSync(join(tmpdir(), 'sluice-test-'));
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy();
    await api.stop();
    rmSync(parent, { recursive: true, force: true });
  });

  describe('its records', () => {
    beforeEach(() => start());

    it('creates an image as `queued`, with its own id and a Location made from Host', async () => {
      const client = await raw();
      const body = '{"name":"one","colour":"green"}';
      await client.request('POST /v2/images HTTP/1.1', ...rawHead, `Content-Length: ${body.length}`);
      await client.write(body);
      const response = await client.response();
      assert.equal(response.status, 201);
      const image = parsed(JSON.parse(response.body.toString()));
      assert.deepEqual(response.headers.get('location'), [`http://images/v2/images/${image.id}`]);
      assert.deepEqual([image.status, image.owner, image.colour], ['queued', 'blue', 'green']);
      assert.equal(image.size, null);
      assert.equal(image.checksum, null);
    });

    it('takes an id of the client in either case, once', async () => {
      const id = randomUUID().toUpperCase();
      await create({ id });
      assert.equal((await record(id)).id, id);
      assert.equal((await call('POST', '/v2/images', { body: JSON.stringify({ id }) })).status, 409);
    });

    it('does not give the id of a deleted image away again', async () => {
      const id = await create();
      assert.equal((await call('DELETE', `/v2/images/${id}`)).status, 204);
      assert.equal((await call('POST', '/v2/images', { body: JSON.stringify({ id }) })).status, 409);
    });

    it('refuses what is no image: other JSON, bad JSON, a bad id, a read-only member', async () => {
      for (const [body, status] of [
        ['[]', 400],
        ['{', 400],
        ['{"id":"1"}', 400],
        ['{"status":"active"}', 403],
      ] as const) {
        assert.equal((await call('POST', '/v2/images', { body })).status, status, body);
      }
    });

    it('reads 1 MiB of JSON, and answers 413 to one byte more', async () => {
      const document = (bytes: number) => `${' '.repeat(bytes - 2)}{}`;
      assert.equal((await call('POST', '/v2/images', { body: document(1_048_576) })).status, 201);
      assert.equal((await call('POST', '/v2/images', { body: document(1_048_577) })).status, 413);
    });

    it('asks for a user and a project, and says 401 in JSON when either is missing', async () => {
      for (const missing of Object.keys(ann)) {
        const response = await call('GET', '/v2/images', {
          headers: { [missing]: '', Accept: 'text/plain' },
        });
        assert.equal(response.status, 401);
        assert.deepEqual(parsed(await response.json()).code, '401 Unauthorized');
      }
    });

    it('answers errors in the format that Accept asks for', async () => {
      const json = await call('GET', '/v2/images/none');
      assert.deepEqual(await json.json(), {
        message: 'No image found with ID none',
        code: '404 Not Found',
        title: 'Not Found',
      });
      const plain = await call('GET', '/v2/images/none', { headers: { Accept: 'text/plain' } });
      assert.equal(await plain.text(), '404 Not Found\n\nNo image found with ID none\n\n   ');
    });

    it('puts X-Openstack-Request-Id on every answer', async () => {
      for (const path of ['/', '/healthcheck', '/v2/images', '/v2/none']) {
        assert.match(
          (await call('GET', path)).headers.get('x-openstack-request-id') ?? '',
          /^req-[0-9a-f-]{36}$/,
        );
      }
    });

    it('lists newest first, in pages that name the next one, without hidden images', async () => {
      const ids = ['c', 'b', 'a'].map((digit) => digit.repeat(8) + randomUUID().slice(8));
      for (const id of ids) {
        await create({ id });
        const createdMs = Date.now();
        await eventually(() => Date.now() > createdMs);
      }
      await create({ os_hidden: true });
      const seen: unknown[] = [];
      const pageSizes: number[] = [];
      let next: unknown = '/v2/images?limit=2';
      while (typeof next === 'string') {
        const page = parsed(await (await call('GET', next)).json());
        assert.ok(Array.isArray(page.images), 'a list of images');
        pageSizes.push(page.images.length);
        seen.push(...page.images.map((image) => parsed(image).id));
        next = page.next;
      }
      assert.deepEqual(pageSizes, [2, 1]);
      assert.deepEqual(seen, ids.reverse());
    });

    it('lists 25 images where no limit is asked', async () => {
      await Promise.all(Array.from({ length: 26 }, () => create()));
      const page = parsed(await (await call('GET', '/v2/images')).json());
      assert.ok(Array.isArray(page.images), 'a list of images');
      assert.equal(page.images.length, 25);
      assert.equal(typeof page.next, 'string');
    });

    it('filters by name, status and visibility', async () => {
      const id = await create({ name: 'wanted', visibility: 'public' });
      await create({ name: 'other' });
      await upload(id, 'x');
      for (const filter of ['name=wanted', 'status=active', 'visibility=public']) {
        const page = parsed(await (await call('GET', `/v2/images?${filter}`)).json());
        assert.ok(Array.isArray(page.images), 'a list of images');
        assert.deepEqual(
          page.images.map((image) => parsed(image).id),
          [id],
          filter,
        );
      }
    });

    it('hides an image from other projects, and shows them a public one that they cannot change', async () => {
      const hidden = await create();
      const shown = await create({ visibility: 'public' });
      const asEve = async (method: string, id: string) =>
        (await call(method, `/v2/images/${id}`, { headers: eve })).status;
      assert.equal(await asEve('GET', hidden), 404);
      assert.equal(await asEve('DELETE', hidden), 404);
      assert.equal(await asEve('GET', shown), 200);
      assert.equal(await asEve('DELETE', shown), 403);
    });

    it('keeps a protected image until a patch lifts the protection', async () => {
      const id = await create({ protected: true });
      assert.equal((await call('DELETE', `/v2/images/${id}`)).status, 403);
      const patched = await call('PATCH', `/v2/images/${id}`, {
        headers: { 'Content-Type': 'application/openstack-images-v2.1-json-patch' },
        body: JSON.stringify([
          { op: 'replace', path: '/protected', value: false },
          { op: 'add', path: '/name', value: 'new' },
        ]),
      });
      assert.equal(parsed(await patched.json()).name, 'new');
      assert.equal((await call('DELETE', `/v2/images/${id}`)).status, 204);
    });

    it('makes a patch whole or not at all, of the one media type', async () => {
      const id = await create({ name: 'old' });
      const headers = { 'Content-Type': 'application/openstack-images-v2.1-json-patch' };
      const body = JSON.stringify([
        { op: 'replace', path: '/name', value: 'new' },
        { op: 'replace', path: '/protected', value: 'yes' },
      ]);
      assert.equal((await call('PATCH', `/v2/images/${id}`, { headers, body })).status, 400);
      assert.equal((await record(id)).name, 'old');
      const readOnly = JSON.stringify([{ op: 'replace', path: '/status', value: 'active' }]);
      assert.equal((await call('PATCH', `/v2/images/${id}`, { headers, body: readOnly })).status, 403);
      const other = await call('PATCH', `/v2/images/${id}`, {
        headers: { 'Content-Type': 'application/json' },
        body,
      });
      assert.equal(other.status, 415);
      assert.equal(other.headers.get('accept-patch'), headers['Content-Type']);
    });

    it('answers discovery, health and usage', async () => {
      const status = async (path: string) => (await call('GET', path)).status;
      assert.equal(await status('/'), 300);
      assert.equal(await status('/v1/images'), 300);
      assert.equal(await status('/versions'), 200);
      assert.equal(await status('/v2/info/stores'), 404);
      assert.equal(await (await call('GET', '/healthcheck')).text(), 'OK');
      assert.deepEqual(await (await call('GET', '/v2/info/usage')).json(), { usage: {} });
      assert.equal((await call('GET', '/v2/info/import')).status, 200);
    });

    it('says 405 with Allow for a wrong method on a known path, and 404 for an unknown path', async () => {
      const wrong = await call('POST', `/v2/images/${randomUUID()}/file`);
      assert.equal(wrong.status, 405);
      assert.equal(wrong.headers.get('allow'), 'PUT, GET');
      assert.equal((await call('GET', '/v2/nothing')).status, 404);
    });

    it('takes the spellings of a path that Glance takes', async () => {
      const id = await create();
      const media = 'application/vnd.openstack.images-v2.9+json';
      for (const [path, headers] of [
        [`//v2/images/${id}`, {}],
        [`/v2.9/images/${id}`, {}],
        [`/v2/images%2F${id}`, {}],
        [`/v2/%69mages/${id}`, {}],
        [`/images/${id}`, { Accept: media }],
      ] as const) {
        assert.equal((await call('GET', path, { headers })).status, 200, path);
      }
      assert.equal((await call('GET', `/v2//images/${id}`)).status, 404);
      assert.equal((await call('GET', `/v2/images/${id}/`)).status, 404);
    });

    it('obeys the method in the query, as Glance does', async () => {
      const id = await create();
      assert.equal((await call('GET', `/v2/images/${id}?x_method=1&%5fmethod=delete`)).status, 204);
      assert.equal((await call('GET', `/v2/images/${id}`)).status, 404);
    });

    it('remembers the requests as they came', async () => {
      const client = await raw();
      await client.request('GET /v2.1/images?x=%41 HTTP/1.1', 'hOST: a', 'X-Twice: 1', 'X-Twice: 2');
      assert.equal((await client.response()).status, 401);
      assert.deepEqual(api.requests(), [
        {
          method: 'GET',
          target: '/v2.1/images?x=%41',
          headers: ['hOST', 'a', 'X-Twice', '1', 'X-Twice', '2'],
        },
      ]);
    });
  });

  describe('an upload', () => {
    beforeEach(() => start());

    for (const framing of [chunked, `Content-Length: ${2 * pieceBytes}`]) {
      describe(`with ${framing}`, () => {
        it('is `saving` without a size while it runs, then `active` with size and md5, and comes back whole', async () => {
          const id = await create();
          const client = await raw();
          const [first, second] = [randomBytes(pieceBytes), randomBytes(pieceBytes)];
          const write = (bytes: Buffer) => (framing === chunked ? client.chunk(bytes) : client.write(bytes));
          await client.request(`PUT /v2/images/${id}/file HTTP/1.1`, ...rawHead, framing);
          await write(first);
          await eventually(() => assert.equal(api.storedBytes(), pieceBytes));
          assert.equal(api.uploadsUnderWay(), 1);
          const saving = await record(id);
          assert.deepEqual([saving.status, saving.size], ['saving', null]);
          assert.equal((await call('GET', `/v2/images/${id}/file`)).status, 204);
          await write(second);
          if (framing === chunked) await client.chunk('');

          const response = await client.response();
          assert.equal(response.status, 204);
          assert.deepEqual(response.headers.get('content-length'), ['0']);
          assert.equal(api.uploadsUnderWay(), 0);
          const data = Buffer.concat([first, second]);
          const checksum = createHash('md5').update(data).digest('hex');
          const stored = await record(id);
          assert.deepEqual([stored.status, stored.size, stored.checksum], ['active', data.length, checksum]);
          const download = await call('GET', `/v2/images/${id}/file`);
          assert.equal(download.headers.get('content-length'), String(data.length));
          assert.equal(download.headers.get('content-md5'), checksum);
          assert.deepEqual(Buffer.from(await download.arrayBuffer()), data);
        });

        it('whose image is deleted runs to its end, keeps its bytes on disk until then, and gets 410', async () => {
          const id = await create();
          const client = await begun(`/v2/images/${id}/file`, framing);
          assert.equal((await call('DELETE', `/v2/images/${id}`)).status, 204);
          assert.equal((await call('GET', `/v2/images/${id}`)).status, 404);
          await (framing === chunked
            ? client.chunk(randomBytes(pieceBytes))
            : client.write(randomBytes(pieceBytes - 1)));
          await eventually(() => api.storedBytes() >= 2 * pieceBytes - 1);
          assert.equal(client.unread.length, 0);
          await (framing === chunked ? client.chunk('') : client.write('x'));
          const response = await client.response();
          assert.equal(response.status, 410);
          assert.match(response.body.toString(), /could not be found after upload/);
          assert.equal(api.storedBytes(), 0);
        });

        for (const [how, abort] of aborts) {
          it(`that ends by ${how} leaves a queued image and no bytes, and may be tried again`, async () => {
            const id = await create();
            const client = await begun(`/v2/images/${id}/file`, framing);
            await abort(client);
            await eventually(async () => assert.equal((await record(id)).status, 'queued'));
            assert.equal(api.storedBytes(), 0);
            assert.equal(api.uploadsUnderWay(), 0);
            assert.equal((await upload(id, 'again')).status, 204);
          });
        }

        it('that is cut after its image was deleted leaves nothing', async () => {
          const id = await create();
          const client = await begun(`/v2/images/${id}/file`, framing);
          await call('DELETE', `/v2/images/${id}`);
          client.reset();
          await eventually(() => assert.equal(api.storedBytes() + api.uploadsUnderWay(), 0));
          assert.equal((await call('GET', `/v2/images/${id}`)).status, 404);
        });
      });
    }

    for (const [how, bytes] of [
      ['has a garbage chunk size', 'zz\r\n'],
      ['ends inside a chunk', 'a\r\nabc'],
      ['ends inside a chunk size', 'a'],
      ['ends before the last empty line', '0\r\n'],
    ] as const) {
      it(`that ${how} gets 400 and leaves a queued image and no bytes`, async () => {
        const id = await create();
        const client = await begun(`/v2/images/${id}/file`, chunked);
        await client.write(bytes);
        client.end();
        await eventually(() => assert.match(client.unread.toString(), /^HTTP\/1\.1 400 /));
        await eventually(async () => assert.equal((await record(id)).status, 'queued'));
        assert.equal(api.storedBytes(), 0);
      });
    }

    it('of no bytes makes an active image of size 0, whose download is empty', async () => {
      const id = await create();
      assert.equal((await upload(id, '')).status, 204);
      const image = await record(id);
      assert.deepEqual([image.status, image.size], ['active', 0]);
      const download = await call('GET', `/v2/images/${id}/file`);
      assert.deepEqual([download.status, (await download.text()).length], [200, 0]);
    });

    it('needs the one content type, and a size header that is a number', async () => {
      const id = await create();
      assert.equal((await upload(id, 'x', { 'Content-Type': 'text/plain' })).status, 415);
      for (const size of ['-1', '1e3', '']) {
        const client = await raw();
        const head = [...rawHead, 'Content-Length: 3', `x-openstack-image-size: ${size}`];
        await client.request(`PUT /v2/images/${id}/file HTTP/1.1`, ...head);
        assert.equal((await client.response()).status, 400, `size ${size}, before the body`);
      }
      assert.equal((await upload(id, 'x', { 'Content-Type': 'Application/Octet-Stream; a=b' })).status, 204);
    });

    it('of another size than x-openstack-image-size says gets 400 and goes back to queued', async () => {
      const id = await create();
      for (const size of ['2', '4']) {
        assert.equal((await upload(id, 'abc', { 'x-openstack-image-size': size })).status, 400);
        assert.equal((await record(id)).status, 'queued');
        assert.equal(api.storedBytes(), 0);
      }
      assert.equal((await upload(id, 'abc', { 'x-openstack-image-size': '3' })).status, 204);
    });

    it('to an image that is saving or active gets 409, and the first one wins', async () => {
      const id = await create();
      const client = await begun(`/v2/images/${id}/file`, chunked);
      const second = await upload(id, 'second');
      assert.equal(second.status, 409);
      assert.equal(
        parsed(await second.json()).message,
        'Image status transition from saving to saving is not allowed',
      );
      await client.chunk('');
      assert.equal((await client.response()).status, 204);
      assert.equal((await record(id)).size, pieceBytes);
      assert.equal((await upload(id, 'third')).status, 409);
    });

    it('that is refused is answered before its body, which is then thrown away so that the connection lives on', async () => {
      const client = await raw();
      await client.request(
        `PUT /v2/images/${randomUUID()}/file HTTP/1.1`,
        ...rawHead,
        'Content-Length: 1000000',
      );
      const response = await client.response();
      assert.equal(response.status, 404);
      assert.equal(response.headers.get('connection'), undefined);
      await client.write(Buffer.alloc(1_000_000));
      await client.request('GET /healthcheck HTTP/1.1', 'Host: images');
      assert.equal((await client.response()).body.toString(), 'OK');
    });

    it('that expects 100-continue gets it when its body is wanted, and only then', async () => {
      const id = await create();
      const expecting = ['Content-Length: 3', 'Expect: 100-continue'];
      const client = await raw();
      await client.request(`PUT /v2/images/${id}/file HTTP/1.1`, ...rawHead, ...expecting);
      await client.receive('HTTP/1.1 100 Continue\r\n\r\n'.length);
      await client.write('abc');
      const stored = await client.response();
      assert.deepEqual([stored.status, stored.informational], [204, [100]]);

      const refused = await raw();
      await refused.request(`PUT /v2/images/${id}/file HTTP/1.1`, ...rawHead, ...expecting);
      const response = await refused.response();
      assert.deepEqual([response.status, response.informational], [409, []]);
      assert.deepEqual(response.headers.get('connection'), ['close']);
      assert.equal(await refused.closed, 'fin');
    });

    it('can be read back in one range', async () => {
      const id = await create();
      await upload(id, '0123456789');
      const range = async (value: string) => {
        const response = await call('GET', `/v2/images/${id}/file`, { headers: { Range: value } });
        const body = response.status === 206 ? await response.text() : '';
        return [response.status, response.headers.get('content-range'), body];
      };
      assert.deepEqual(await range('bytes=2-4'), [206, 'bytes 2-4/10', '234']);
      assert.deepEqual(await range('bytes=8-99'), [206, 'bytes 8-9/10', '89']);
      assert.deepEqual(await range('bytes=9-'), [206, 'bytes 9-9/10', '9']);
      assert.deepEqual(await range('bytes=-3'), [206, 'bytes 7-9/10', '789']);
      assert.deepEqual(await range('bytes=10-'), [416, 'bytes */10', '']);
      assert.deepEqual(await range('bytes=4-2'), [416, 'bytes */10', '']);
      assert.deepEqual(await range('bytes=0-1,3-4'), [400, null, '']);
    });

    it('is gone from disk once its image is deleted', async () => {
      const id = await create();
      await upload(id, 'abc');
      assert.equal(api.storedBytes(), 3);
      await call('DELETE', `/v2/images/${id}`);
      assert.equal(api.storedBytes(), 0);
    });
  });

  describe('its quota', () => {
    const quotaBytes = 2 * pieceBytes;
    beforeEach(() => start({ quotaBytes }));

    it('takes a declared size of exactly what remains, and refuses one byte more before the body', async () => {
      const id = await create();
      const client = await raw();
      await client.request(
        `PUT /v2/images/${id}/file HTTP/1.1`,
        ...rawHead,
        `Content-Length: ${quotaBytes + 1}`,
      );
      const response = await client.response();
      assert.deepEqual([response.status, response.reason], [413, 'Request Entity Too Large']);
      assert.match(
        response.body.toString(),
        /The size of the data 131073 will exceed the limit\. 131072 bytes remaining/,
      );
      assert.equal((await record(id)).status, 'queued');
      assert.equal((await upload(id, Buffer.alloc(quotaBytes))).status, 204);
    });

    it('refuses even an upload of no bytes when nothing remains', async () => {
      await upload(await create(), Buffer.alloc(quotaBytes));
      const response = await upload(await create(), '');
      assert.equal(response.status, 413);
      assert.match(await response.text(), /size of the data None will exceed the limit\. 0 bytes remaining/);
    });

    it('is per project', async () => {
      await upload(await create(), Buffer.alloc(quotaBytes));
      const body = JSON.stringify({ id: randomUUID() });
      const { id } = parsed(await (await call('POST', '/v2/images', { headers: eve, body })).json());
      assert.equal((await upload(String(id), 'x', eve)).status, 204);
    });

    it('counts `saving` as 0: two uploads that do not fit together are both written, and the later one gets 413', async () => {
      const ids = [await create(), await create()];
      const bodyBytes = quotaBytes - 1;
      const both: RawClient[] = [];
      for (const id of ids) both.push(await begun(`/v2/images/${id}/file`, `Content-Length: ${bodyBytes}`));
      await Promise.all(both.map((client) => client.write(Buffer.alloc(bodyBytes - pieceBytes - 1))));
      await eventually(() => assert.equal(api.storedBytes(), 2 * (bodyBytes - 1)));
      assert.ok(api.storedBytes() > quotaBytes, 'more is on disk than the quota allows');
      const statuses: number[] = [];
      for (const client of both) {
        await client.write('x');
        statuses.push((await client.response()).status);
      }
      assert.deepEqual(statuses, [204, 413]);
      assert.equal(api.storedBytes(), bodyBytes);
    });

    it('lets a body of unknown length run over it to the end, answers 413, and leaves the image `saving` for ever', async () => {
      const id = await create();
      const client = await begun(`/v2/images/${id}/file`, chunked);
      await client.chunk(Buffer.alloc(quotaBytes));
      await eventually(() => assert.equal(api.storedBytes(), quotaBytes + pieceBytes));
      assert.equal(client.unread.length, 0);
      await client.chunk('');
      assert.equal((await client.response()).status, 413);
      assert.equal(api.storedBytes(), 0);
      assert.equal((await record(id)).status, 'saving');
      assert.equal((await upload(id, 'x')).status, 409);
      assert.equal((await call('DELETE', `/v2/images/${id}`)).status, 204);
    });

    it('does not see what is staged, and an import that does not fit stays `importing` with its data', async () => {
      const id = await create();
      const body = Buffer.alloc(quotaBytes + 1);
      assert.equal((await call('PUT', `/v2/images/${id}/stage`, { headers: octets, body })).status, 204);
      const fitting = await create();
      await call('PUT', `/v2/images/${fitting}/stage`, { headers: octets, body: '' });
      for (const each of [id, fitting]) assert.equal((await requestImport(each)).status, 202);
      await eventually(async () => assert.equal((await record(fitting)).status, 'active'));
      assert.equal((await record(id)).status, 'importing');
      assert.equal(api.storedBytes(), quotaBytes + 1);
      assert.equal((await call('DELETE', `/v2/images/${id}`)).status, 204);
      assert.equal(api.storedBytes(), 0);
    });
  });

  describe('staging', () => {
    beforeEach(() => start());

    it('makes an image `uploading`, and its import `active` with the same bytes', async () => {
      const id = await create();
      assert.equal(
        (await call('PUT', `/v2/images/${id}/stage`, { headers: octets, body: 'staged' })).status,
        204,
      );
      const staged = await record(id);
      assert.deepEqual([staged.status, staged.size], ['uploading', 6]);
      assert.equal((await call('PUT', `/v2/images/${id}/stage`, { headers: octets, body: 'x' })).status, 409);
      assert.equal((await requestImport(id)).status, 202);
      await eventually(async () => assert.equal((await record(id)).status, 'active'));
      assert.equal(await (await call('GET', `/v2/images/${id}/file`)).text(), 'staged');
      assert.equal(api.storedBytes(), 6);
    });

    it('refuses to import what is not staged, or by another method', async () => {
      const id = await create();
      assert.equal((await requestImport(id)).status, 409);
      assert.equal((await requestImport(id, 'web-download')).status, 400);
    });

    it('whose image is deleted loses its file at once, and its uploader gets 404 at the end', async () => {
      const id = await create();
      const client = await begun(`/v2/images/${id}/stage`, chunked);
      assert.equal((await record(id)).status, 'uploading');
      assert.equal((await requestImport(id)).status, 409);
      assert.equal((await call('DELETE', `/v2/images/${id}`)).status, 204);
      assert.equal(api.storedBytes(), 0);
      assert.equal(api.uploadsUnderWay(), 1);
      await client.chunk(randomBytes(pieceBytes));
      assert.equal(client.unread.length, 0);
      await client.chunk('');
      assert.equal((await client.response()).status, 404);
      assert.equal(api.storedBytes(), 0);
    });

    for (const [how, abort] of aborts) {
      it(`that ends by ${how} leaves a queued image and no bytes`, async () => {
        const id = await create();
        const client = await begun(`/v2/images/${id}/stage`, chunked);
        await abort(client);
        await eventually(async () => assert.equal((await record(id)).status, 'queued'));
        assert.equal(api.storedBytes(), 0);
      });
    }
  });

  it('closes every connection after its answer when http_keepalive is off', async () => {
    await start({ httpKeepalive: false });
    const client = await raw();
    await client.request('GET /healthcheck HTTP/1.1', 'Host: images');
    const response = await client.response();
    assert.deepEqual(response.headers.get('connection'), ['close']);
    assert.equal(await client.closed, 'fin');
  });

  it('says of a connection only what it was asked, and obeys `Connection: close`', async () => {
    await start();
    const client = await raw();
    const said: unknown[] = [];
    for (const lines of [[], ['Connection: keep-alive'], ['Connection: close']]) {
      await client.request('GET /healthcheck HTTP/1.1', 'Host: images', ...lines);
      const { headers } = await client.response();
      assert.equal(headers.get('keep-alive'), undefined);
      said.push(headers.get('connection')?.join());
    }
    assert.deepEqual(said, [undefined, 'keep-alive', 'close']);
    assert.equal(await client.closed, 'fin');
  });

  it('removes its scratch folder when it stops, in the middle of an upload too', async () => {
    await start();
    await begun(`/v2/images/${await create()}/file`, chunked);
    assert.equal(readdirSync(parent).length, 1);
    await api.stop();
    assert.deepEqual(readdirSync(parent), []);
    assert.equal(existsSync(parent), true);
  });

  it('leaves no scratch folder when its port is taken', async () => {
    await start();
    await assert.rejects(startImageApi({ port: api.port, directory: parent }), { code: 'EADDRINUSE' });
    assert.equal(readdirSync(parent).length, 1);
  });

  async function requestImport(id: string, name = 'glance-direct'): Promise<Response> {
    return call('POST', `/v2/images/${id}/import`, { body: JSON.stringify({ method: { name } }) });
  }
});

function parsed(value: unknown): Record<string, unknown> {
  assert.ok(typeof value === 'object' && value !== null, 'a JSON object');
  return { ...value };
}
