import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { CountingTap } from './support/counting-tap.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, imageInGlance, setProperty, statusInGlance } from './support/image.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { glanceOrigin } from './support/stack.ts';
import { MiB, problemCode, put, putNew, Upload } from './support/upload.ts';

const quotaBytes = 16 * MiB;

// Glance asks for the quota of whoever uploads, and counts the bytes at whoever owns the image
describe('the project that owns the image pays', () => {
  let tap: CountingTap;
  let gateway: Gateway;
  let owner: Owner;

  before(async () => {
    tap = await CountingTap.start(glanceOrigin);
    gateway = await Gateway.start({ upstream: tap.origin, quota: `${quotaBytes}B` });
  });
  after(async () => {
    await gateway.stop();
    await tap.stop();
  });
  beforeEach(async () => {
    owner = await newOwner();
  });

  it('when an administrator uploads into it: its quota holds, and that of the administrator stays whole', async () => {
    const { origin } = gateway;
    const admin = await newOwner({ role: 'admin' });
    assert.equal((await putNew(origin, owner, 12 * MiB)).status, 204);
    const imageId = await createImage(origin, owner);

    const over = { origin, owner: admin, imageId, contentLength: 4 * MiB + 1 };
    const refusal = await put(over, 4 * MiB + 1);
    assert.equal(problemCode(refusal), 'quota-exceeded');
    assert.equal(JSON.parse(refusal.body.toString()).account, `project:${owner.projectId}`);
    assert.deepEqual(tap.seen('PUT', imageId), []);

    const upload = await Upload.begin({ origin, owner: admin, imageId, contentLength: 4 * MiB });
    await upload.send(MiB);
    const listed = await eventually(() => gateway.upload(imageId));
    assert.deepEqual(listed.owner, { user: admin.userId, project: owner.projectId });
    await upload.send(3 * MiB);
    assert.equal((await upload.finish()).status, 204);
    assert.equal((await imageInGlance(owner, imageId))?.size, 4 * MiB);

    assert.equal((await putNew(origin, owner, 1)).code, 'quota-exceeded');
    assert.equal((await putNew(origin, admin, quotaBytes)).status, 204);
    assert.equal((await putNew(origin, admin, 1)).code, 'quota-exceeded');
  });

  it('and a stranger who cannot see the image is told 404 by Glance, before a byte is sent on', async () => {
    const stranger = await newOwner();
    const imageId = await createImage(gateway.origin, owner);
    const answer = await put({ origin: gateway.origin, owner: stranger, imageId, contentLength: MiB }, MiB);
    assert.equal(answer.status, 404);
    assert.equal(problemCode(answer), '');
    assert.match(answer.body.toString(), /No image found with ID/);
    assert.deepEqual(tap.seen('PUT', imageId), []);
    assert.equal(await statusInGlance(owner, imageId), 'queued');
  });

  it('and a stranger who sees the image may not upload at its cost', async () => {
    const stranger = await newOwner();
    const imageId = await createImage(gateway.origin, owner);
    assert.equal(await setProperty(glanceOrigin, owner, imageId, 'visibility', 'community'), 200);
    const answer = await put({ origin: gateway.origin, owner: stranger, imageId, contentLength: MiB }, MiB);
    assert.equal(answer.status, 403);
    assert.equal(problemCode(answer), 'image-foreign');
    assert.deepEqual(tap.seen('PUT', imageId), []);
    assert.equal(await statusInGlance(owner, imageId), 'queued');
  });
});
