import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { CountingTap } from './support/counting-tap.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, imageInGlance, statusInGlance } from './support/image.ts';
import { type AccessRule, applicationCredentialToken, grant, logIn, newTrust } from './support/keystone.ts';
import { type Bearer, newOwner, type Owner } from './support/owner.ts';
import { glanceOrigin } from './support/stack.ts';
import { MiB, problemCode, put, putNew, Upload } from './support/upload.ts';

const quotaBytes = 16 * MiB;
const bytes = 4 * MiB;

const mayUpload: AccessRule = { service: 'image', method: 'PUT', path: '/v2/images/*/file' };
const mayLook: readonly AccessRule[] = [
  { service: 'image', method: 'GET', path: '/v2/images' },
  { service: 'image', method: 'GET', path: '/v2/images/*' },
];

describe('whatever kind of token Keystone gives', () => {
  let tap: CountingTap;
  let gateway: Gateway;
  let withAccount: Gateway;
  let owner: Owner;

  before(async () => {
    tap = await CountingTap.start(glanceOrigin);
    gateway = await Gateway.start({
      upstream: tap.origin,
      quota: `${quotaBytes}B`,
      keystone: { cache_ttl: '0s' },
    });
    withAccount = await Gateway.start({
      upstream: tap.origin,
      quota: `${quotaBytes}B`,
      keystone: { cache_ttl: '0s' },
      serviceAccount: true,
    });
  });
  after(async () => {
    await gateway.stop();
    await withAccount.stop();
    await tap.stop();
  });
  beforeEach(async () => {
    owner = await newOwner();
  });

  /** The bearer uploads into an image of the owner, whose project pays, to the last byte of its quota. */
  async function assertPaidByOwner(bearer: Bearer, userId: string, through = gateway): Promise<void> {
    const { origin } = through;
    const imageId = await createImage(glanceOrigin, owner);
    const upload = await Upload.begin({ origin, owner: bearer, imageId, contentLength: bytes });
    await upload.send(1);
    const listed = await eventually(() => {
      assert.equal(upload.answered, null, upload.answered?.body.toString());
      return through.upload(imageId);
    });
    assert.deepEqual(listed.owner, { user: userId, project: owner.projectId });
    await upload.send(bytes - 1);
    const answer = await upload.finish();
    assert.equal(answer.status, 204, answer.body.toString());
    assert.equal((await imageInGlance(owner, imageId))?.size, bytes);
    const left = await createImage(glanceOrigin, owner);
    const leftBytes = quotaBytes - bytes;
    const into = { origin, imageId: left };
    const over = await put({ ...into, owner: bearer, contentLength: leftBytes + 1 }, leftBytes + 1);
    assert.equal(problemCode(over), 'quota-exceeded');
    assert.equal((await put({ ...into, owner, contentLength: leftBytes }, leftBytes)).status, 204);
  }

  /** Of an upload that Glance never hears of. */
  async function refusal(bearer: Bearer): Promise<{ readonly status: number; readonly code: string }> {
    const imageId = await createImage(glanceOrigin, owner);
    const contentLength = bytes;
    const answer = await put({ origin: gateway.origin, owner: bearer, imageId, contentLength }, bytes);
    assert.deepEqual(tap.seen('PUT', imageId), []);
    assert.equal(await statusInGlance(owner, imageId), 'queued');
    return { status: answer.status, code: problemCode(answer) };
  }

  it('an application credential is its project and its user', async () => {
    await assertPaidByOwner(await applicationCredentialToken(owner), owner.userId);
  });

  it('an application credential that may upload and look may upload', async () => {
    const rules = [mayUpload, ...mayLook];
    await assertPaidByOwner(await applicationCredentialToken(owner, { rules }), owner.userId);
  });

  it('an application credential that may upload but not look may upload, if the gateway has a service account to ask with', async () => {
    const token = await applicationCredentialToken(owner, { rules: [mayUpload] });
    assert.deepEqual(await refusal(token), { status: 403, code: 'token-restricted' });
    await assertPaidByOwner(token, owner.userId, withAccount);
  });

  for (const [what, rule] of Object.entries<AccessRule>({
    'only look': { service: 'image', method: 'GET', path: '/v2/**' },
    'upload to another service': { ...mayUpload, service: 'compute' },
    'upload into another image': {
      ...mayUpload,
      path: '/v2/images/00000000-0000-0000-0000-000000000000/file',
    },
    'only stage': { ...mayUpload, path: '/v2/images/*/stage' },
  })) {
    it(`an application credential that may ${what} may not upload`, async () => {
      const token = await applicationCredentialToken(owner, { rules: [rule] });
      assert.deepEqual(await refusal(token), { status: 401, code: 'token-invalid' });
    });
  }

  it('of a trust: who gave it pays, if the gateway has a service account to ask with', async () => {
    const trustee = await newOwner();
    const trust = await newTrust(owner, trustee.userId);
    const trusted = await logIn(trustee.login, { trust });
    // Keystone tells a token of a trust nothing about itself
    assert.deepEqual(await refusal(trusted), { status: 503, code: 'identity-unavailable' });
    await assertPaidByOwner(trusted, owner.userId, withAccount);
    // the trustee's own project has paid nothing
    assert.equal((await putNew(gateway.origin, trustee, quotaBytes)).status, 204);
  });

  it('of an administrator of the whole system: the project of the image pays', async () => {
    const operator = await newOwner();
    await grant('admin', operator.userId, '/system');
    await assertPaidByOwner(await logIn(operator.login, 'system'), operator.userId);
  });

  it('of an administrator of a domain: the project of the image pays', async () => {
    const operator = await newOwner();
    await grant('admin', operator.userId, '/domains/default');
    await assertPaidByOwner(await logIn(operator.login, { domain: 'default' }), operator.userId);
  });

  it('of the system or a domain, but no administrator: nobody would pay, and Glance says 404', async () => {
    const reader = await newOwner();
    await grant('reader', reader.userId, '/system');
    await grant('member', reader.userId, '/domains/default');
    for (const scope of ['system', { domain: 'default' }] as const) {
      assert.deepEqual(await refusal(await logIn(reader.login, scope)), { status: 404, code: '' });
    }
  });

  it('of nothing at all: refused before Glance is asked to store a byte', async () => {
    const { status } = await refusal(await logIn(owner.login, 'unscoped'));
    assert.ok(status === 401 || status === 403 || status === 404, `${status}`);
  });
});
