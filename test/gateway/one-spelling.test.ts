import assert from 'node:assert/strict';
import { ann, type Stage, startStage, uploadHead, uploadsSeen } from '../support/running-gateway.ts';

/** Ways to write the path of an upload that some server takes for it. */
const spellings: readonly (readonly [string, (id: string) => string])[] = [
  ['an encoded letter', (id) => `/v2/images/${id}/%66ile`],
  ['a letter encoded twice', (id) => `/v2/images/${id}/%2566ile`],
  ['an encoded slash', (id) => `/v2/images/${id}%2Ffile`],
  ['an encoded slash in lower case', (id) => `/v2/images%2f${id}/file`],
  ['an empty segment', (id) => `/v2//images/${id}/file`],
  ['an empty first segment', (id) => `//v2/images/${id}/file`],
  ['a dot segment', (id) => `/v2/images/./${id}/file`],
  ['two dots', (id) => `/v2/tasks/../images/${id}/file`],
  ['encoded dots', (id) => `/v2/tasks/%2e%2e/images/${id}/file`],
  ['a trailing slash', (id) => `/v2/images/${id}/file/`],
  ['a parameter', (id) => `/v2/images/${id}/file;x=1`],
  ['capitals', (id) => `/v2/images/${id}/FILE`],
  ['an id in capitals', (id) => `/v2/images/${id.toUpperCase()}/file`],
  ['an encoded id', (id) => `/v2/images/%${id.charCodeAt(0).toString(16)}${id.slice(1)}/file`],
  ['an unknown spelling of the version', (id) => `/v02/images/${id}/file`],
  ['the target as an absolute URL', (id) => `http://images.example/v2/images/${id}/file`],
];

describe('one spelling', () => {
  let stage: Stage;
  afterEach(() => stage.stop());

  for (const [name, spell] of spellings) {
    it(`refuses ${name}: nothing reaches the API`, async () => {
      stage = await startStage();
      const { gateway, api } = stage;
      const image = await gateway.create();
      const target = spell(image);
      assert.notEqual(target, `/v2/images/${image}/file`);
      const client = await gateway.client();
      await client.request(...uploadHead(image, ['Content-Length: 5'], ann, target));
      await client.write('hello');
      assert.equal((await client.response()).status, 400);
      assert.equal(uploadsSeen(api), 0);
    });
  }

  const judged: readonly (readonly [string, (id: string) => string])[] = [
    ['POST', (id) => `/v2/images/${id}/Import`],
    ['POST', (id) => `/v2/images/${id}/import/`],
    ['POST', (id) => `/v2/images/${id}/%69mport`],
    ['POST', (id) => `/v2/images/${id}/%2569mport`],
    ['POST', (id) => `/v02/images/${id}/import`],
    ['POST', (id) => `/v2/images/${id.toUpperCase()}/import`],
    ['POST', (id) => `/v2/images/${id}/locations;x`],
    ['POST', (id) => `/v2/images/${id}%2flocations`],
    ['PATCH', (id) => `/v2/images/${id}/`],
    ['PATCH', (id) => `/v2/Images/${id}`],
    ['POST', () => '/v2/tasks/'],
    ['POST', () => '/v2/TASKS'],
    ['POST', () => '/v2./tasks'],
  ];
  it('refuses other spellings of what is judged: nothing reaches the API', async () => {
    stage = await startStage({ import: { locations: 'refuse', tasks: 'refuse' } });
    const { gateway, api } = stage;
    const image = await gateway.create();
    const before = api.requests().length;
    for (const [method, spell] of judged) {
      const client = await gateway.client();
      await client.request(`${method} ${spell(image)} HTTP/1.1`, 'Host: x', 'Content-Length: 2');
      await client.write('{}');
      assert.equal((await client.response()).status, 400, `${method} ${spell(image)}`);
    }
    assert.equal(api.requests().length, before);
  });

  it('judges what comes by a minor version', async () => {
    stage = await startStage({ import: { tasks: 'refuse' } });
    const answer = await fetch(`${stage.gateway.url}/v2.9/tasks`, { method: 'POST', body: '{}' });
    assert.equal(answer.status, 403);
  });

  it('refuses a method in the query and a version in Accept', async () => {
    stage = await startStage();
    const { gateway, api } = stage;
    const image = await gateway.create();
    const path = `/v2/images/${image}/file`;
    const before = api.requests().length;
    for (const [method, target, fields] of [
      ['POST', `${path}?_method=PUT`, []],
      ['GET', `${path}?a=1&_METHOD=PUT`, []],
      ['GET', `${path}?%5fmethod=PUT`, []],
      ['PUT', `/images/${image}/file`, ['Accept: application/vnd.openstack.images-v2.9']],
      ['PUT', `/images/${image}/file`, ['Accept: */*', 'Accept: application/VND.openstack.images-v2']],
      ['put', path, []],
    ] as const) {
      const client = await gateway.client();
      const [, ...head] = uploadHead(image, ['Content-Length: 5', ...fields]);
      await client.request(`${method} ${target} HTTP/1.1`, ...head);
      await client.write('hello');
      assert.equal((await client.response()).status, 400, `${method} ${target}`);
    }
    assert.equal(api.requests().length, before);
  });

  it('counts an upload by a minor version, and sends it on by its one name', async () => {
    stage = await startStage({ quota: { limits: [{ per: 'project', total: 10 }] } });
    const { gateway, api } = stage;
    const image = await gateway.create();
    const target = `/v2.9/images/${image}/file`;
    const over = await gateway.client();
    await over.request(...uploadHead(image, ['Content-Length: 11'], ann, target));
    assert.equal((await over.response()).status, 413);
    assert.equal(uploadsSeen(api), 0);
    const client = await gateway.client();
    await client.request(...uploadHead(image, ['Content-Length: 10'], ann, target));
    await client.write('0123456789');
    assert.equal((await client.response()).status, 204);
    assert.equal(await gateway.metric('sluice_uploads_total{ending="stored"}'), 1);
    const put = api.requests().find(({ method }) => method === 'PUT');
    assert.equal(put?.target, `/v2/images/${image}/file`);
  });

  it('passes Host on, with uploads and with everything else', async () => {
    stage = await startStage();
    const { gateway, api } = stage;
    const image = await gateway.create();
    const client = await gateway.uploading(image, ['Content-Length: 1']);
    await client.write('x');
    assert.equal((await client.response()).status, 204);
    await client.request(
      `GET /v2/images/${image} HTTP/1.1`,
      'Host: images.example',
      'X-User-Id: ann',
      'X-Project-Id: blue',
    );
    assert.equal((await client.response()).status, 200);
    for (const method of ['PUT', 'GET']) {
      const request = api.requests().findLast((each) => each.method === method);
      assert.deepEqual(valuesOf(request?.headers ?? [], 'host'), ['images.example'], method);
    }
  });

  it('takes identity headers off what an untrusted peer sends: 401', async () => {
    stage = await startStage({ identity: { headers: { trusted_from: [] } } });
    const { gateway, api } = stage;
    const response = await fetch(`${gateway.url}/v2/images`, { headers: ann });
    assert.equal(response.status, 401);
    const passed = api.requests().findLast(({ target }) => target === '/v2/images');
    assert.deepEqual(valuesOf(passed?.headers ?? [], 'x-user-id'), []);
    assert.deepEqual(valuesOf(passed?.headers ?? [], 'x-project-id'), []);
    const client = await gateway.uploading('6d1b3c1e-2f9e-4f43-9a55-0e9a0d1f7c11', ['Content-Length: 1']);
    await client.write('x');
    assert.equal((await client.response()).status, 401);
    assert.equal(uploadsSeen(api), 0);
  });
});

function valuesOf(headers: readonly string[], name: string): string[] {
  return headers.filter((_, i) => i % 2 === 1 && headers[i - 1]?.toLowerCase() === name);
}
