import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { eventually } from '../support/eventually.ts';
import { codeOf } from '../support/running-gateway.ts';
import { ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const image = randomUUID();

/** What the API knows of the image, and how it answers an import. */
interface Told {
  status: string;
  size: number | null;
  stores: string;
  importingTo: string;
  importAnswer: string | 'reset';
}

describe('an import that makes copies', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;
  let told: Told;
  let gone: boolean;

  const record = (): object => ({
    ...{ id: image, owner: 'blue', status: told.status, size: told.size, stores: told.stores },
    ...(told.importingTo !== '' && { os_glance_importing_to_stores: told.importingTo }),
  });
  const answer = (connection: UpstreamConnection, line: string, document?: object): void => {
    connection.answer(`${line}\r\nConnection: close`, document === undefined ? '' : JSON.stringify(document));
    connection.end();
  };
  const imports = (): number => upstream.connections.filter(({ head }) => head.startsWith('POST')).length;

  beforeEach(async () => {
    told = { status: 'active', size: 100, stores: 'a', importingTo: '', importAnswer: '202 Accepted' };
    gone = false;
    upstream = await ScriptedUpstream.start((connection) => {
      const [method, target = ''] = connection.head.split(' ');
      if (method === 'POST' && told.importAnswer === 'reset') return connection.reset();
      if (method === 'POST') return answer(connection, told.importAnswer);
      if (target.startsWith('/v2/info/stores')) {
        const stores = [{ id: 'a' }, { id: 'b' }, { id: 'c' }, { id: 'web', 'read-only': 'true' }];
        return answer(connection, '200 OK', { stores });
      }
      if (target.startsWith('/v2/info/usage')) return answer(connection, '200 OK', { usage: {} });
      if (target.startsWith('/v2/images?')) {
        return answer(connection, '200 OK', { images: target.includes('os_hidden=true') ? [] : [record()] });
      }
      if (gone) return answer(connection, '404 Not Found');
      return answer(connection, '200 OK', record());
    });
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  const start = async (total: number): Promise<void> => {
    sluice = await TestGateway.start(upstream.port, {
      quota: { limits: [{ per: 'project', total }], usage: { source: 'glance', ttl: 0 } },
    });
  };
  const call = async (body: object): Promise<{ status: number; code: string }> => {
    const client = await sluice.client();
    const text = JSON.stringify(body);
    const head = uploadHead(image, `Content-Length: ${text.length}`);
    await client.request(`POST /v2/images/${image}/import HTTP/1.1`, ...head.slice(1));
    await client.write(text);
    const { status, body: answered } = await client.response();
    return { status, code: status < 300 ? '' : codeOf(answered) };
  };
  const copy = (more: object): Promise<{ status: number; code: string }> =>
    call({ method: { name: 'copy-image' }, ...more });

  for (const [what, more, stores, added] of [
    ['to one store more', { stores: ['b'] }, 'a', 100],
    ['to two stores more, named three times', { stores: ['b', 'c', 'b'] }, 'a', 200],
    ['to the default store, which is not named', {}, 'a', 100],
    [
      'to a store that has it, which might be deleted meanwhile, and one more',
      { stores: ['a', 'b'] },
      'a',
      200,
    ],
    ['to all stores, of which two have it', { all_stores: true }, 'a,b', 100],
  ] as const) {
    const stored = 100 * stores.split(',').length;

    it(`${what} is refused with one byte less than it adds, before the API hears of it`, async () => {
      told.stores = stores;
      await start(stored + added - 1);
      assert.deepEqual(await copy(more), { status: 413, code: 'quota-exceeded' });
      assert.equal(imports(), 0);
      assert.equal(sluice.gateway.savingBytes, 0);
    });

    it(`${what} is let through where it fits, and is set aside until it has ended`, async () => {
      told.stores = stores;
      told.importingTo = 'b';
      await start(stored + added);
      assert.deepEqual(await copy(more), { status: 202, code: '' });
      assert.equal(sluice.gateway.savingBytes, added);
      told = { ...told, stores: 'a,b,c', importingTo: '' };
      await eventually(() => assert.equal(sluice.gateway.savingBytes, 0), 'the import has ended');
    });
  }

  it('of staged data adds one copy less than it has stores, for the staged one counts already', async () => {
    told = { ...told, status: 'uploading', stores: '', importingTo: '' };
    await start(299);
    const direct = (more: object) => call({ method: { name: 'glance-direct' }, ...more });
    assert.equal((await direct({ all_stores: true })).status, 413);
    assert.equal((await direct({ stores: ['a', 'b', 'c'] })).status, 413);
    told.importingTo = 'a,b';
    assert.equal((await direct({ stores: ['a', 'b'] })).status, 202);
    assert.equal(sluice.gateway.savingBytes, 100);
    told = { ...told, status: 'active', stores: 'a,b', importingTo: '' };
    await eventually(() => assert.equal(sluice.gateway.savingBytes, 0), 'the import has ended');
  });

  it('that the API refuses gives its bytes back at once', async () => {
    told.importAnswer = '409 Conflict';
    await start(1000);
    assert.equal((await copy({ stores: ['b'] })).status, 409);
    await eventually(() => assert.equal(sluice.gateway.savingBytes, 0), 'they are back');
  });

  it('whose answer was lost may have begun, and stays counted until its image tells', async () => {
    told = { ...told, importAnswer: 'reset', importingTo: 'b' };
    await start(1000);
    assert.equal((await copy({ stores: ['b'] })).status, 502);
    assert.equal(sluice.gateway.savingBytes, 100);
    told.importingTo = '';
    await eventually(() => assert.equal(sluice.gateway.savingBytes, 0), 'the image has told');
  });

  it('whose image is deleted gives its bytes back', async () => {
    told.importingTo = 'b';
    await start(1000);
    assert.equal((await copy({ stores: ['b'] })).status, 202);
    assert.equal(sluice.gateway.savingBytes, 100);
    gone = true;
    await eventually(() => assert.equal(sluice.gateway.savingBytes, 0), 'they are back');
  });

  it('counts for the next upload as long as it runs', async () => {
    told.importingTo = 'b';
    await start(250);
    assert.equal((await copy({ stores: ['b'] })).status, 202);
    const client = await sluice.client();
    await client.request(...uploadHead(image, 'Content-Length: 51'));
    const { status, body } = await client.response();
    assert.equal(status, 413);
    assert.equal(codeOf(body), 'quota-exceeded');
  });
});
