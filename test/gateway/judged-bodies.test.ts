import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WrittenOptions } from '../../src/config/options.ts';
import { eventually } from '../support/eventually.ts';
import type { RawClient } from '../support/raw-client.ts';
import { codeOf } from '../support/running-gateway.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TestGateway } from '../support/test-gateway.ts';

const image = '/v2/images/71c675ab-d94f-49cd-a114-e12490b328d9';
/** Each way has an image of its own: while one is imported it is not changed in another way. */
const another = (n: number): string => image.replace(/.$/, String(n));
type Quota = NonNullable<WrittenOptions['quota']>;
const total: Quota = { limits: [{ per: 'project', total: '1GiB' }] };
const by = (name: string): string => JSON.stringify({ method: { name } });
const patch = (path: string): string => JSON.stringify([{ op: 'add', path, value: [] }]);

/** Each way by which data can go round the gateway: its key under `import`, and a request that takes it. */
const ways = {
  glance_direct: ['POST', `${another(1)}/import`, by('glance-direct')],
  web_download: ['POST', `${another(2)}/import`, by('web-download')],
  copy_image: ['POST', `${another(3)}/import`, by('copy-image')],
  glance_download: ['POST', `${another(4)}/import`, by('glance-download')],
  tasks: ['POST', '/v2/tasks', '{"type":"import"}'],
  locations: ['POST', `${another(5)}/locations`, '{"url":"http://h/x"}'],
} as const;
type Way = keyof typeof ways;
const keys: readonly Way[] = [
  'glance_direct',
  'web_download',
  'copy_image',
  'glance_download',
  'tasks',
  'locations',
];

describe('a body that is judged', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;

  const start = async (changes: WrittenOptions = {}): Promise<void> => {
    sluice = await TestGateway.start(upstream.port, changes);
  };
  const send = async (
    method: string,
    target: string,
    body: string | Uint8Array,
    ...fields: string[]
  ): Promise<{ status: number; code: string }> => {
    const client = await sluice.client();
    await client.request(
      `${method} ${target} HTTP/1.1`,
      'Host: images',
      'X-User-Id: ann',
      'X-Project-Id: blue',
      'Content-Type: application/json',
      `Content-Length: ${Buffer.byteLength(body)}`,
      ...fields,
    );
    await client.write(body);
    const answer = await client.response();
    return { status: answer.status, code: answer.status < 300 ? '' : codeOf(answer.body) };
  };
  const take = (way: Way) => {
    const [method, target, body] = ways[way];
    return send(method, target, body);
  };

  beforeEach(async () => {
    upstream = await ScriptedUpstream.start(async (connection) => {
      await connection.bodyComplete();
      // where a total is set, the gateway asks whose the image is before it lets an import through
      if (connection.head.startsWith('GET')) {
        connection.answer('200 OK\r\nConnection: close', '{"status":"queued","owner":"blue","size":null}');
        return;
      }
      // one request for each connection, which is what the script knows of
      connection.write('HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    });
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  /** Requests that came through, without the gateway's own questions. */
  const sentOn = (): number => upstream.connections.filter(({ head }) => !head.startsWith('GET')).length;
  const passed = { status: 202, code: '' };
  const refused = { status: 403, code: 'import-refused' };
  for (const way of keys) {
    it(`${way}: pass lets it through, refuse does not, unless-limited only where no project has a total`, async () => {
      const rows: [rule: 'pass' | 'unless-limited' | 'refuse', quota: Quota, expected: typeof passed][] = [
        ['pass', total, passed],
        ['refuse', {}, refused],
        ['unless-limited', {}, passed],
        ['unless-limited', total, refused],
        ['unless-limited', { ...total, mode: 'log' }, passed],
        ['unless-limited', { ...total, mode: 'off' }, passed],
        ['unless-limited', { limits: [{ per: 'user', saving: 1, uploads: 1 }] }, passed],
        ['unless-limited', { limits: [{ per: 'project', saving: 1, uploads: 1 }] }, passed],
      ];
      for (const [rule, quota, expected] of rows) {
        await start({ import: { [way]: rule }, quota });
        const before = sentOn();
        assert.deepEqual(await take(way), expected, `${rule} with ${JSON.stringify(quota)}`);
        assert.equal(sentOn() - before, expected === passed ? 1 : 0);
        await sluice.stop();
      }
    });
  }

  it('by default passes what came through the gateway or is counted, and the rest unless projects have a total', async () => {
    await start();
    for (const way of keys) assert.deepEqual(await take(way), passed, way);
    await sluice.stop();
    await start({ quota: total });
    for (const way of keys) {
      assert.deepEqual(
        await take(way),
        ['glance_direct', 'copy_image'].includes(way) ? passed : refused,
        way,
      );
    }
  });

  it('counts an override with a total as a limit', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-judged-'));
    try {
      const file = join(folder, 'quotas.yaml');
      writeFileSync(file, 'blue: { uploads: 1 }\ngreen: { total: 10 }\n');
      await start({ quota: { overrides: file } });
      assert.deepEqual(await take('web_download'), refused);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('of a PATCH is one of locations only where it changes them', async () => {
    await start({ import: { locations: 'refuse' } });
    assert.deepEqual(await send('PATCH', image, patch('/locations/-')), refused);
    assert.deepEqual(await send('PATCH', image, '[{"replace":"//locations","value":[]}]'), refused);
    assert.deepEqual(await send('PATCH', image, patch('/name')), passed);
  });

  it('goes upstream as it was judged, with its length, and with Content-Type as it came', async () => {
    await start();
    const body = '[ {"op":"add", "path":"/locations", "path":"\\/na\\u006de", "value":"é"} ]';
    const type = 'Content-Type: application/openstack-images-v2.1-json-patch';
    const client = await sluice.client();
    await client.request(`PATCH ${image} HTTP/1.1`, 'Host: x', type, 'Transfer-Encoding: chunked');
    await client.chunk(body.slice(0, 20));
    await client.chunk(body.slice(20));
    await client.chunk('');
    assert.equal((await client.response()).status, 202);
    const [connection] = upstream.connections;
    const sent = '[{"op":"add","path":"/name","value":"é"}]';
    assert.equal(connection?.body.toString(), sent);
    assert.equal(connection?.header('content-length'), String(Buffer.byteLength(sent)));
    assert.equal(connection?.header('transfer-encoding'), null);
    assert.equal(connection?.header('content-type'), 'application/openstack-images-v2.1-json-patch');
  });

  it('is judged by the key that goes upstream, where one stands twice', async () => {
    await start({ import: { locations: 'refuse', web_download: 'refuse' } });
    const patched = '[{"op":"add","path":"/name","path":"/locations","value":[]}]';
    assert.deepEqual(await send('PATCH', image, patched), refused);
    const imported = '{"method":{"name":"glance-direct"},"method":{"name":"web-download"}}';
    assert.deepEqual(await send('POST', `${image}/import`, imported), refused);
  });

  for (const [what, method, target] of [
    ['an import', 'POST', `${image}/import`],
    ['an update', 'PATCH', image],
    ['locations', 'POST', `${image}/locations`],
    ['a task', 'POST', '/v2/tasks'],
  ] as const) {
    it(`of ${what} that is not JSON, or encoded, or none, is answered 400: nothing goes upstream`, async () => {
      await start();
      const notJson = { status: 400, code: 'body-not-json' };
      assert.deepEqual(await send(method, target, ''), notJson);
      assert.deepEqual(await send(method, target, '{'), notJson);
      assert.deepEqual(await send(method, target, Buffer.from(by('glance-direct'), 'utf16le')), notJson);
      assert.deepEqual(await send(method, target, by('glance-direct'), 'Content-Encoding: gzip'), notJson);
      assert.equal(upstream.connections.length, 0);
      const plain = await send(method, target, by('glance-direct'), 'Content-Encoding: Identity');
      assert.deepEqual(plain, passed);
    });

    for (const [maxBody, limit] of [
      [100, 100],
      [0, 1024 * 1024],
    ] as const) {
      it(`of ${what} may have ${limit} bytes where max_body is ${maxBody}, in either framing`, async () => {
        await start({ max_body: maxBody });
        const padded = (bytes: number): string => by('glance-direct').padEnd(bytes);
        assert.deepEqual(await send(method, target, padded(limit)), passed);
        assert.deepEqual(await send(method, target, padded(limit + 1)), {
          status: 413,
          code: 'body-too-large',
        });
        const client = await sluice.client();
        await client.request(`${method} ${target} HTTP/1.1`, 'Host: x', 'Transfer-Encoding: chunked');
        await client.chunk(padded(limit));
        await client.chunk(' ');
        assert.equal((await client.response()).status, 413);
        assert.equal(upstream.connections.length, 1);
      });
    }
  }

  it('that grows over max_body when it is written anew is too large', async () => {
    await start({ max_body: 30 });
    const body = '[1e15,1e15,1e15]';
    assert.deepEqual(await send('PATCH', image, body), { status: 413, code: 'body-too-large' });
  });

  for (const body of ['{}', '{"method":{"name":"web-upload"}}', '{"method":"glance-direct"}', '[]']) {
    it(`of an import that is none is answered 400: ${body}`, async () => {
      await start();
      const invalid = { status: 400, code: 'import-invalid' };
      assert.deepEqual(await send('POST', `${image}/import`, body), invalid);
      assert.equal(upstream.connections.length, 0);
    });
  }

  it('and its header naming the stores once more is answered 400', async () => {
    await start();
    const body = '{"method":{"name":"copy-image"},"all_stores":true}';
    const { code } = await send('POST', `${image}/import`, body, 'X-Image-Meta-Store: a');
    assert.equal(code, 'import-invalid');
  });

  describe('while it is read', () => {
    let client: RawClient;
    const begin = async (changes: WrittenOptions, ...fields: readonly string[]): Promise<void> => {
      await start(changes);
      client = await sluice.client();
      await client.request(`POST ${image}/import HTTP/1.1`, 'Host: x', 'Content-Length: 100', ...fields);
    };

    it('is asked for with 100 Continue once', async () => {
      await begin({}, 'Expect: 100-continue');
      await client.receive(1);
      await client.write(by('glance-direct').padEnd(100));
      const answer = await client.response();
      assert.deepEqual([answer.status, answer.informational], [202, [100]]);
    });

    it('is not asked for where its way is refused whatever it says, or it is too large', async () => {
      await start({ max_body: 50, import: { tasks: 'refuse' } });
      for (const [target, status] of [
        ['/v2/tasks', 403],
        [`${image}/import`, 413],
      ] as const) {
        client = await sluice.client();
        await client.request(
          `POST ${target} HTTP/1.1`,
          'Host: x',
          'Content-Length: 51',
          'Expect: 100-continue',
        );
        const answer = await client.response();
        assert.deepEqual([answer.status, answer.informational], [status, []]);
      }
    });

    it('ends with 408 where the client stands still', async () => {
      await begin({ client_socket_timeout: '200ms' });
      await client.write('{');
      const answer = await client.response();
      assert.equal(answer.status, 408);
      assert.equal(codeOf(answer.body), 'client-stalled');
      assert.equal(upstream.connections.length, 0);
    });

    for (const [how, leave] of [
      ['resets', () => client.reset()],
      ['closes', () => client.end()],
    ] as const) {
      it(`is forgotten where the client ${how} its connection`, async () => {
        await begin({});
        await client.write('{');
        leave();
        await eventually(async () => {
          const page = await (await fetch(`http://127.0.0.1:${sluice.adminPort}/metrics`)).text();
          assert.match(page, /^sluice_requests_total\{action="import",status="4xx"\} 1$/m);
          assert.match(page, /^sluice_connections 0$/m);
        }, 'the request is over');
        assert.equal(upstream.connections.length, 0);
      });
    }

    it('leaves the connection to the next request', async () => {
      await begin({});
      await client.write(by('glance-direct').padEnd(100));
      assert.equal((await client.response()).status, 202);
      await client.request(`POST ${image}/import HTTP/1.1`, 'Host: x', 'Content-Length: 2');
      await client.write('{}');
      assert.equal((await client.response()).status, 400);
      await client.request('GET /v2/images HTTP/1.1', 'Host: x');
      assert.equal((await client.response()).status, 200);
    });
  });
});
