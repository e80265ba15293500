import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WrittenOptions } from '../../src/config/options.ts';
import type { ImageApiOptions } from '../../src/demo/image-api.ts';
import { eventually } from '../support/eventually.ts';
import { FakeKeystone, type FakeToken } from '../support/fake-keystone.ts';
import {
  codeOf,
  type Headers,
  type Stage,
  startStage,
  uploadHead,
  uploadsSeen,
} from '../support/running-gateway.ts';

const MiB = 1024 * 1024;

/** The image API knows its callers by the tokens of this Keystone, as Glance does through authtoken. */
const byToken =
  (keystone: FakeKeystone): NonNullable<ImageApiOptions['identify']> =>
  ({ 'x-auth-token': secret, accept }) => {
    const token = keystone.tokens.get(String(secret));
    // a token with access rules may upload, and ask nothing
    if (token?.accessRules !== undefined && accept === 'application/json') return null;
    if (token === undefined || (token.expiresAtMs ?? Infinity) < Date.now()) return null;
    const isAdmin = token.roles?.includes('admin') ?? false;
    return { userId: token.user, projectId: token.project ?? '', isAdmin };
  };

describe('an upload by token', () => {
  let keystone: FakeKeystone;
  let stage: Stage;
  const start = async (
    changes: WrittenOptions = {},
    apiOptions: Partial<ImageApiOptions> = {},
    more: NonNullable<WrittenOptions['identity']>['keystone'] = {},
  ): Promise<void> => {
    stage = await startStage(
      { ...changes, identity: { source: 'keystone', keystone: { url: keystone.url, ...more } } },
      { identify: byToken(keystone), ...apiOptions },
    );
  };
  const tokenOf = (token: FakeToken): Headers => ({ 'X-Auth-Token': keystone.issue(token) });
  const perProject = (total: number): WrittenOptions => ({ quota: { limits: [{ per: 'project', total }] } });

  beforeEach(async () => {
    keystone = await FakeKeystone.start();
  });
  afterEach(async () => {
    await stage.stop();
    await keystone.stop();
  });

  it('is stored, and its bytes are the project’s that the token is of', async () => {
    await start(perProject(100));
    const ann = tokenOf({ user: 'ann', project: 'blue' });
    assert.equal((await stage.gateway.put(await stage.gateway.create(ann), 100, ann)).status, 204);
    const again = await stage.gateway.create(ann);
    assert.deepEqual(await stage.gateway.put(again, 1, ann), { status: 413, code: 'quota-exceeded' });
    const bob = tokenOf({ user: 'bob', project: 'red' });
    assert.equal((await stage.gateway.put(await stage.gateway.create(bob), 100, bob)).status, 204);
  });

  for (const [what, headers, code] of [
    ['without a token', {}, 'token-missing'],
    ['with a token that Keystone does not know', { 'X-Auth-Token': 'made-up' }, 'token-invalid'],
  ] as const) {
    it(`${what} is answered 401 before any byte of its body, and OpenStack's clients can read why`, async () => {
      await start();
      const image = await stage.gateway.create(tokenOf({ user: 'ann', project: 'blue' }));
      const client = await stage.gateway.uploading(
        image,
        ['Content-Length: 5', 'Expect: 100-continue'],
        headers,
      );
      const { status, headers: answered, body, informational } = await client.response();
      assert.equal(status, 401);
      assert.deepEqual(informational, []);
      assert.deepEqual(answered.get('www-authenticate'), [`Keystone uri="${keystone.url}"`]);
      const document = JSON.parse(body.toString());
      assert.equal(document.code, code);
      assert.equal(document.error.code, 401);
      assert.equal(document.error.title.length > 0 && document.error.message.length > 0, true);
      assert.equal(uploadsSeen(stage.api), 0);
    });
  }

  it('gets 503 with Retry-After while Keystone does not say whose the token is', async () => {
    await start();
    const ann = tokenOf({ user: 'ann', project: 'blue' });
    const image = await stage.gateway.create(ann);
    keystone.trouble = 500;
    const client = await stage.gateway.uploading(image, ['Content-Length: 5'], ann);
    const { status, headers, body } = await client.response();
    assert.equal(status, 503);
    assert.equal(codeOf(body), 'identity-unavailable');
    assert.deepEqual(headers.get('retry-after'), ['5']);
    keystone.recover();
    assert.equal((await stage.gateway.put(image, 5, ann)).status, 204);
  });

  it('cannot say itself who it is', async () => {
    await start({ quota: { limits: [{ per: 'project', total: 10 }] } });
    const ann = tokenOf({ user: 'ann', project: 'blue' });
    const liar = {
      ...ann,
      'X-Project-Id': 'rich',
      'X-User-Id': 'root',
      'X-Roles': 'admin',
      X_Project_Id: 'rich',
    };
    assert.equal((await stage.gateway.put(await stage.gateway.create(ann), 11, liar)).status, 413);
    const asked = stage.api.requests().flatMap(({ headers }) => headers.map((text) => text.toLowerCase()));
    assert.deepEqual(
      asked.filter((text) => /^x[-_](?:project|user)[-_]id$|^x-roles$/.test(text)),
      [],
    );
  });

  describe('into the image of another project', () => {
    it('is paid by the project that owns the image', async () => {
      await start(perProject(100));
      const ann = tokenOf({ user: 'ann', project: 'blue' });
      const admin = tokenOf({ user: 'root', project: 'admin', roles: ['admin'] });
      assert.equal((await stage.gateway.put(await stage.gateway.create(ann), 60, admin)).status, 204);
      const next = await stage.gateway.create(ann);
      // the administrator's own project is empty, and that does not help
      assert.deepEqual(await stage.gateway.put(next, 41, admin), { status: 413, code: 'quota-exceeded' });
      assert.equal((await stage.gateway.put(next, 40, admin)).status, 204);
      const own = await stage.gateway.create(admin);
      assert.equal((await stage.gateway.put(own, 100, admin)).status, 204);
    });

    it('needs a role for it', async () => {
      await start(perProject(100));
      const ann = tokenOf({ user: 'ann', project: 'blue' });
      const shared = await stage.gateway.create(ann, { visibility: 'public' });
      const bob = tokenOf({ user: 'bob', project: 'red' });
      assert.deepEqual(await stage.gateway.put(shared, 5, bob), { status: 403, code: 'image-foreign' });
      assert.equal(uploadsSeen(stage.api), 0);
    });

    it('that the caller may not know of is the API’s own 404', async () => {
      await start(perProject(100));
      const ann = tokenOf({ user: 'ann', project: 'blue' });
      const bob = tokenOf({ user: 'bob', project: 'red' });
      const { status, code } = await stage.gateway.put(await stage.gateway.create(ann), 5, bob);
      assert.equal(status, 404);
      assert.match(code, /No image found/);
      assert.equal(uploadsSeen(stage.api), 0);
      assert.equal(await stage.gateway.metric('sluice_uploads_total{ending="refused"}'), 1);
    });
  });

  it('with a token of the system is paid by the image’s project, and needs one that pays', async () => {
    await start();
    const ann = tokenOf({ user: 'ann', project: 'blue' });
    const system = tokenOf({ user: 'root', project: null, system: true, roles: ['admin'] });
    const image = await stage.gateway.create(ann);
    assert.equal((await stage.gateway.put(image, 5, system)).status, 204);
    const unscoped = tokenOf({ user: 'ann', project: null, roles: [] });
    const other = await stage.gateway.create(ann);
    assert.equal((await stage.gateway.put(other, 5, unscoped)).status, 404);
    assert.equal(uploadsSeen(stage.api), 1);
  });

  it('counts for its user whatever project and token it comes with', async () => {
    await start({ quota: { limits: [{ per: 'user', uploads: 1 }], usage: { source: 'none' } } });
    const blue = tokenOf({ user: 'ann', project: 'blue' });
    const red = tokenOf({ user: 'ann', project: 'red' });
    const renewed = tokenOf({ user: 'ann', project: 'blue' });
    const first = await stage.gateway.uploading(
      await stage.gateway.create(blue),
      ['Content-Length: 5'],
      blue,
    );
    await eventually(async () => (await stage.gateway.uploads()).uploads.length === 1, 'it is under way');
    for (const who of [red, renewed]) {
      const image = await stage.gateway.create(who);
      assert.deepEqual(await stage.gateway.put(image, 5, who), { status: 429, code: 'uploads-exceeded' });
    }
    await first.write(Buffer.alloc(5));
    assert.equal((await first.response()).status, 204);
    assert.equal((await stage.gateway.put(await stage.gateway.create(red), 5, red)).status, 204);
  });

  const uploadOnly = [{ service: 'image', method: 'PUT', path: '/v2/images/*/file' }];

  it('with a token that may upload and not ask is refused, and told why', async () => {
    await start(perProject(100));
    const image = await stage.gateway.create(tokenOf({ user: 'ann', project: 'blue' }));
    const restricted = tokenOf({ user: 'ann', project: 'blue', accessRules: uploadOnly });
    assert.deepEqual(await stage.gateway.put(image, 5, restricted), {
      status: 403,
      code: 'token-restricted',
    });
  });

  it('outlives its token: it ends as it would have', async () => {
    await start(perProject(100));
    const secret = keystone.issue({ user: 'ann', project: 'blue' });
    const ann = { 'X-Auth-Token': secret };
    const image = await stage.gateway.create(ann);
    const client = await stage.gateway.uploading(image, ['Content-Length: 5'], ann);
    await eventually(() => stage.api.uploadsUnderWay() === 1, 'it is under way');
    keystone.revoke(secret);
    await client.write(Buffer.alloc(5));
    assert.equal((await client.response()).status, 204);
  });

  describe('with a service account', () => {
    let folder: string;
    beforeEach(() => {
      keystone.accounts.set('sluice:secret', ['admin']);
      folder = mkdtempSync(join(tmpdir(), 'sluice-account-'));
    });
    afterEach(() => rmSync(folder, { recursive: true }));
    const withAccount = async (changes: WrittenOptions, password = 'secret'): Promise<void> => {
      writeFileSync(join(folder, 'password'), `${password}\n`);
      await start(
        changes,
        {},
        {
          service_account: { user: 'sluice', project: 'service', password_file: join(folder, 'password') },
        },
      );
    };

    it('ends when its image is deleted round the gateway, though its token has expired', async () => {
      await withAccount({ upload: { watch_interval: '50ms' } });
      const secret = keystone.issue({ user: 'ann', project: 'blue' });
      const ann = { 'X-Auth-Token': secret };
      const image = await stage.gateway.create(ann);
      const client = await stage.gateway.uploading(image, ['Content-Length: 5'], ann);
      await eventually(() => stage.api.uploadsUnderWay() === 1, 'it is under way');
      const deleted = await fetch(`${stage.api.url}/v2/images/${image}`, { method: 'DELETE', headers: ann });
      assert.equal(deleted.status, 204);
      keystone.revoke(secret);
      const { status, body } = await client.response();
      assert.equal(status, 410);
      assert.equal(codeOf(body), 'image-deleted');
    });

    it('with a token that may upload and not ask is admitted by what the account is told', async () => {
      await withAccount(perProject(100));
      const ann = tokenOf({ user: 'ann', project: 'blue' });
      const restricted = tokenOf({ user: 'ann', project: 'blue', accessRules: uploadOnly });
      const image = await stage.gateway.create(ann);
      assert.deepEqual(await stage.gateway.put(image, 101, restricted), {
        status: 413,
        code: 'quota-exceeded',
      });
      assert.equal((await stage.gateway.put(image, 100, restricted)).status, 204);
    });

    it('goes on when the service account does not see its image', async () => {
      keystone.accounts.set('sluice:secret', ['reader']);
      await withAccount({ upload: { watch_interval: '20ms' } });
      const secret = keystone.issue({ user: 'ann', project: 'blue' });
      const ann = { 'X-Auth-Token': secret };
      const image = await stage.gateway.create(ann);
      const client = await stage.gateway.uploading(image, ['Content-Length: 5'], ann);
      await eventually(() => stage.api.uploadsUnderWay() === 1, 'it is under way');
      keystone.revoke(secret);
      const looks = (): number =>
        stage.api.requests().filter(({ method, target }) => method === 'GET' && target.endsWith(image))
          .length;
      const before = looks();
      await eventually(() => looks() > before + 4, 'the image was looked up by the account');
      await client.write(Buffer.alloc(5));
      assert.equal((await client.response()).status, 204);
    });

    it('has the limits that Keystone keeps: the project’s own, else the default, and no more than the file’s', async () => {
      keystone.limits.image_size_total = { registered: 1, projects: { blue: 2, red: -1, none: 0 } };
      keystone.limits.image_count_uploading = { registered: 10 };
      await withAccount({
        quota: { limits: [{ per: 'project', total: 3 * MiB }], cloud_limits: { source: 'keystone' } },
      });
      for (const [project, most] of [
        ['blue', 2 * MiB],
        ['green', MiB],
        ['red', 3 * MiB],
        ['none', 0],
      ] as const) {
        const who = tokenOf({ user: 'ann', project });
        const image = await stage.gateway.create(who);
        assert.deepEqual(
          await stage.gateway.put(image, most + 1, who),
          { status: 413, code: 'quota-exceeded' },
          project,
        );
        assert.equal((await stage.gateway.put(image, most, who)).status, 204, project);
      }
    });

    it('may store nothing where Keystone has no limit at all, as Glance reads it', async () => {
      await withAccount({ quota: { cloud_limits: { source: 'keystone' } } });
      const who = tokenOf({ user: 'ann', project: 'blue' });
      const image = await stage.gateway.create(who);
      assert.equal((await stage.gateway.put(image, 1, who)).code, 'uploads-exceeded');
    });

    it('is refused where the service account may not read the limits of every project', async () => {
      keystone.limits.image_size_total = { registered: 10, projects: { blue: 1 } };
      keystone.limits.image_count_uploading = { registered: 10 };
      keystone.accountsOfSystem = false;
      await withAccount({ quota: { cloud_limits: { source: 'keystone' } } });
      const ann = tokenOf({ user: 'ann', project: 'blue' });
      const image = await stage.gateway.create(ann);
      assert.deepEqual(await stage.gateway.put(image, 1, ann), { status: 503, code: 'identity-unavailable' });
    });

    it('is refused while nobody can say the limits', async () => {
      await withAccount({ quota: { cloud_limits: { source: 'keystone' } } }, 'wrong');
      const admin = tokenOf({ user: 'ann', project: 'blue' });
      const image = await stage.gateway.create(admin);
      assert.deepEqual(await stage.gateway.put(image, 1, admin), {
        status: 503,
        code: 'identity-unavailable',
      });
    });
  });

  it('has the limits that the API shows for its project, in MiB and in uploads at once', async () => {
    await start(
      { quota: { limits: [{ per: 'project', total: 0 }], cloud_limits: { source: 'usage' } } },
      { unifiedLimits: { sizeTotalMiB: 1, countUploading: 1 } },
    );
    const ann = tokenOf({ user: 'ann', project: 'blue' });
    const image = await stage.gateway.create(ann);
    assert.deepEqual(await stage.gateway.put(image, MiB + 1, ann), { status: 413, code: 'quota-exceeded' });
    const held = await stage.gateway.uploading(image, [`Content-Length: ${MiB}`], ann);
    await eventually(() => stage.api.uploadsUnderWay() === 1, 'it is under way');
    assert.equal((await stage.gateway.put(await stage.gateway.create(ann), 0, ann)).code, 'uploads-exceeded');
    void held.write(Buffer.alloc(MiB));
    assert.equal((await held.response()).status, 204);
  });

  it('has no limits of the cloud where the API shows none', async () => {
    await start({ quota: { cloud_limits: { source: 'usage' } } });
    const ann = tokenOf({ user: 'ann', project: 'blue' });
    assert.equal((await stage.gateway.put(await stage.gateway.create(ann), MiB, ann)).status, 204);
  });

  it('is refused in a form that OpenStack’s own clients can read', async () => {
    await start(perProject(10));
    const ann = tokenOf({ user: 'ann', project: 'blue' });
    const image = await stage.gateway.create(ann);
    for (const agent of [
      'python-glanceclient',
      'openstacksdk/0.101.0 keystoneauth1/5.0.0 python-requests/2.28',
    ]) {
      const client = await stage.gateway.client();
      await client.request(...uploadHead(image, ['Content-Length: 11', `User-Agent: ${agent}`], ann));
      const { status, headers, body } = await client.response();
      assert.equal(status, 413);
      assert.deepEqual(headers.get('content-type'), ['application/json']);
      const document = JSON.parse(body.toString());
      // glanceclient calls .get on each member
      assert.deepEqual(
        Object.values(document).map((member) => typeof member),
        ['object'],
      );
      assert.match(document.error.message, /may store 10 bytes; 10 remain, 11 more were asked for/);
      assert.equal(document.error.problem.code, 'quota-exceeded');
    }
  });
});
