import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { eventually } from '../support/eventually.ts';
import type { RawClient } from '../support/raw-client.ts';
import { codeOf } from '../support/running-gateway.ts';
import { ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

/*
 * Glance saves the whole record of an image, size and status too. A PATCH that was loaded while an upload ran and is
 * saved after its end leaves an active upload's data without a size, in no sum: repeat at will, and store without
 * end. The same with an import that begins while its data is still being staged.
 */
describe('an image has one writer, where stored bytes are limited', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;
  let image: string;
  /** Requests that change the image are held by the API until the test lets them go. */
  let held: UpstreamConnection[];
  let holding: boolean;
  let status: string;
  let size: number | null;

  const answer = (connection: UpstreamConnection, line: string, document?: object): void => {
    connection.answer(`${line}\r\nConnection: close`, document === undefined ? '' : JSON.stringify(document));
    connection.end();
  };
  const start = async (total = 1000): Promise<void> => {
    sluice = await TestGateway.start(upstream.port, {
      quota: { limits: [{ per: 'project', total }], usage: { source: 'glance', ttl: '1h' } },
      upload: { watch_interval: 0 },
    });
  };
  const changes = {
    'PATCH of the image': ['PATCH', '', '[{"op":"replace","path":"/name","value":"n"}]'],
    'PUT of a tag': ['PUT', '/tags/t', ''],
    'DELETE of a tag': ['DELETE', '/tags/t', ''],
    deactivation: ['POST', '/actions/deactivate', ''],
    reactivation: ['POST', '/actions/reactivate', ''],
    import: ['POST', '/import', '{"method":{"name":"glance-direct"}}'],
    'DELETE of a copy': ['DELETE', null, ''],
  } as const;
  const change = async ([method, path, body]: (typeof changes)[keyof typeof changes]): Promise<RawClient> => {
    const client = await sluice.client();
    const target = path === null ? `/v2/stores/fast/${image}` : `/v2/images/${image}${path}`;
    const fields = body === '' ? [] : [`Content-Length: ${body.length}`];
    await client.request(`${method} ${target} HTTP/1.1`, ...uploadHead(image, ...fields).slice(1));
    await client.write(body);
    return client;
  };
  const upload = async (...fields: string[]): Promise<RawClient> => {
    const client = await sluice.client();
    await client.request(...uploadHead(image, ...fields));
    return client;
  };

  beforeEach(async () => {
    image = randomUUID();
    held = [];
    holding = false;
    status = 'queued';
    size = null;
    upstream = await ScriptedUpstream.start(async (connection) => {
      const { head } = connection;
      if (head.startsWith('GET /v2/images?')) return answer(connection, '200 OK', { images: [] });
      if (head.startsWith('GET /v2/info')) return answer(connection, '200 OK', { usage: {} });
      if (head.startsWith('GET'))
        return answer(connection, '200 OK', { id: image, owner: 'blue', status, size });
      await connection.bodyComplete();
      if (/^PUT \S+\/file /.test(head)) return answer(connection, '204 No Content');
      if (holding) held.push(connection);
      else answer(connection, '200 OK');
    });
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  for (const [what, how] of Object.entries(changes)) {
    it(`${what} waits its turn: 409 while data comes in, and let through afterwards`, async () => {
      await start();
      const uploading = await upload('Content-Length: 5');
      await eventually(async () => (await sluice.uploads()).length === 1, 'it is under way');
      const { status: refused, headers, body } = await (await change(how)).response();
      assert.equal(refused, 409);
      assert.equal(codeOf(body), 'image-busy');
      assert.deepEqual(headers.get('retry-after'), ['5']);
      assert.equal(
        upstream.connections.some(({ head }) => head.startsWith(`${how[0]} /v2/images/${image}${how[1]} `)),
        false,
      );
      await uploading.write(Buffer.alloc(5));
      assert.equal((await uploading.response()).status, 204);
      assert.equal((await (await change(how)).response()).status, 200);
    });
  }

  it('data waits until a change has been answered', async () => {
    await start();
    holding = true;
    const changing = await change(changes['PATCH of the image']);
    await eventually(() => held.length === 1, 'the API has the change');
    const uploading = await upload('Content-Length: 5', 'Expect: 100-continue');
    // nothing of it goes upstream, not even the question whose the image is
    const asked = await sluice.client();
    await asked.request('GET /v2/images HTTP/1.1', 'Host: images');
    await asked.response();
    assert.deepEqual(
      upstream.connections.map(({ head }) => head.split(' ', 2).join(' ')),
      [`PATCH /v2/images/${image}`, 'GET /v2/images'],
    );
    for (const connection of held) answer(connection, '200 OK');
    assert.equal((await changing.response()).status, 200);
    await uploading.write(Buffer.alloc(5));
    const { status: stored, informational } = await uploading.response();
    assert.equal(stored, 204);
    assert.deepEqual(informational, [100]);
  });

  for (const [what, how] of Object.entries(changes)) {
    it(`${what} whose client leaves is carried to its end, and data waits until then, not longer`, async () => {
      await start();
      holding = true;
      const changing = await change(how);
      const [connection] = await eventually(() => held.length === 1 && held, 'the API has the change');
      let cut = false;
      void connection?.closed.then(() => {
        cut = true;
      });
      changing.reset();
      await eventually(async () => assert.equal(await sluice.metric('sluice_connections'), 0));
      const uploading = await upload('Content-Length: 5', 'Expect: 100-continue');
      // its connection to the API is not cut, and what came to the API since is not the upload
      const asked = await sluice.client();
      await asked.request('GET /v2/images HTTP/1.1', 'Host: images');
      await asked.response();
      assert.equal(cut, false);
      assert.equal(
        upstream.connections.some(({ head }) => head.includes('/file ')),
        false,
      );
      for (const each of held) answer(each, '200 OK');
      await uploading.write(Buffer.alloc(5));
      assert.equal((await uploading.response()).status, 204);
    });
  }

  it('a deleter does not wait', async () => {
    await start();
    const uploading = await upload('Content-Length: 5');
    await eventually(async () => (await sluice.uploads()).length === 1, 'it is under way');
    const deleting = await sluice.client();
    await deleting.request(`DELETE /v2/images/${image} HTTP/1.1`, 'Host: images');
    assert.equal((await deleting.response()).status, 200);
    assert.equal((await uploading.response()).status, 410);
  });

  it('an import of data that is not staged to its end is refused, though its stage goes another way', async () => {
    await start();
    status = 'uploading';
    const { status: refused, body } = await (await change(changes.import)).response();
    assert.equal(refused, 409);
    assert.equal(codeOf(body), 'image-busy');
    assert.equal(
      upstream.connections.some(({ head }) => head.startsWith('POST')),
      false,
    );
  });

  it('whose owner nobody changes without a role for it', async () => {
    await start();
    const gift = (operation: string): readonly ['PATCH', '', string] => ['PATCH', '', operation];
    for (const patch of [
      '[{"op":"add","path":"/owner","value":"red"}]',
      '[{"op":"replace","path":"owner","value":"red"}]',
      '[{"replace":"/owner","value":"red"}]',
      '[{"op":"add","path":"/name","value":"n"},{"op":"add","path":"//owner","value":"red"}]',
    ]) {
      const { status: refused, body } = await (await change(gift(patch) as never)).response();
      assert.equal(refused, 403, patch);
      assert.equal(codeOf(body), 'owner-fixed');
    }
    assert.equal(
      upstream.connections.some(({ head }) => head.startsWith('PATCH')),
      false,
    );
    const admin = await sluice.client();
    const body = '[{"op":"add","path":"/owner","value":"red"}]';
    await admin.request(
      `PATCH /v2/images/${image} HTTP/1.1`,
      ...uploadHead(image, `Content-Length: ${body.length}`, 'X-Roles: admin').slice(1),
    );
    await admin.write(body);
    assert.equal((await admin.response()).status, 200);
  });

  for (const [what, count, expected] of [
    ['at', 500, 200],
    ['over', 501, 413],
  ] as const) {
    it(`a patch ${what} the limit of changes is answered ${expected}`, async () => {
      await start();
      const patch = JSON.stringify(
        Array.from({ length: count }, () => ({ op: 'add', path: '/a', value: 'b' })),
      );
      assert.equal((await (await change(['PATCH', '', patch] as never)).response()).status, expected);
    });
  }

  it('a change that was refused here hinders nobody', async () => {
    await start(50);
    status = 'active';
    size = 100;
    // the copy does not fit, so the API never hears of it
    const copy = ['POST', '/import', '{"method":{"name":"copy-image"},"stores":["b"]}'] as never;
    const { status: refused } = await (await change(copy)).response();
    assert.equal(refused, 413);
    assert.equal(
      upstream.connections.some(({ head }) => head.startsWith('POST')),
      false,
    );
    size = null;
    const uploading = await upload('Content-Length: 5');
    await uploading.write(Buffer.alloc(5));
    assert.equal((await uploading.response()).status, 204);
  });

  it('where nothing is limited everything goes as it comes', async () => {
    sluice = await TestGateway.start(upstream.port, { quota: { mode: 'off' } });
    const uploading = await upload('Content-Length: 5');
    await eventually(async () => (await sluice.uploads()).length === 1, 'it is under way');
    assert.equal((await (await change(changes['PATCH of the image'])).response()).status, 200);
    await uploading.write(Buffer.alloc(5));
    assert.equal((await uploading.response()).status, 204);
  });
});
