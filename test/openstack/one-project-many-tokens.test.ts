import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { Gateway } from './support/gateway.ts';
import { HighWater } from './support/high-water.ts';
import { createImage, imageInGlance } from './support/image.ts';
import { revoke } from './support/keystone.ts';
import { alsoInProjectOf, newOwner, type Owner, withNewToken } from './support/owner.ts';
import { framed, framings, MiB, problemCode, put, putNew, Upload } from './support/upload.ts';

const quotaBytes = 32 * MiB;
const bytes = 12 * MiB; // two fit, three do not

describe('a quota is of the project, whoever of its users uploads with whichever token', () => {
  let gateway: Gateway;
  let owner: Owner;

  before(async () => {
    gateway = await Gateway.start({ quota: `${quotaBytes}B`, userLimits: { uploads: 4 } });
  });
  after(() => gateway.stop());
  beforeEach(async () => {
    owner = await newOwner();
  });

  for (const framing of framings) {
    it(`eight uploads at once by two users with two tokens each never pass it (${framing})`, async () => {
      const { origin } = gateway;
      const colleague = await newOwner({ inProjectOf: owner });
      const bearers = [owner, await withNewToken(owner), colleague, await withNewToken(colleague)];
      const images = await Promise.all(
        [...bearers, ...bearers].map(async (bearer) => ({
          bearer,
          imageId: await createImage(origin, bearer),
        })),
      );
      const highWater = new HighWater('glance/images', () => images.map(({ imageId }) => imageId));

      const answers = await Promise.all(
        images.map(({ bearer, imageId }) =>
          put({ origin, owner: bearer, imageId, ...framed(framing, bytes) }, bytes),
        ),
      );

      const most = await highWater.stop();
      assert.ok(most <= quotaBytes, `${most} bytes were in the store at once`);
      await eventually(async () => assert.equal((await gateway.uploads()).saving_bytes, 0));
      const stored = answers.filter(({ status }) => status === 204).length;
      const refused = answers.filter((answer) => problemCode(answer) === 'quota-exceeded').length;
      assert.equal(stored + refused, 8);
      // of unknown length, all of them may have begun and none may have come to its end
      if (framing === 'Content-Length') assert.equal(stored, 2);
      else assert.ok(stored <= 2, `${stored} are stored`);
      const active = await Promise.all(images.map(({ imageId }) => imageInGlance(owner, imageId)));
      assert.equal(active.filter((image) => image?.status === 'active').length, stored);
      const leftBytes = quotaBytes - stored * bytes;
      assert.equal((await putNew(origin, colleague, leftBytes + 1)).code, 'quota-exceeded');
      assert.equal((await putNew(origin, colleague, leftBytes)).status, 204);
    });
  }

  it('a token that is renewed in the middle of an upload is on the same account', async () => {
    const { origin } = gateway;
    const imageId = await createImage(origin, owner);
    const upload = await Upload.begin({ origin, owner, imageId, contentLength: 24 * MiB });
    await upload.send(8 * MiB);
    await eventually(async () => assert.ok(await gateway.upload(imageId), 'the upload is not listed'));

    const renewed = await withNewToken(owner);
    await revoke(owner.token);
    assert.equal((await putNew(origin, renewed, 8 * MiB + 1)).code, 'quota-exceeded');
    assert.equal((await putNew(origin, renewed, 8 * MiB)).status, 204);

    await upload.send(16 * MiB);
    assert.equal((await upload.finish()).status, 204);
    assert.equal((await putNew(origin, renewed, 1)).code, 'quota-exceeded');
  });

  it('a user of two projects fills the one whose token it is, and is one user in both', async () => {
    const { origin } = gateway;
    const other = await newOwner();
    const inBoth = await alsoInProjectOf(owner, other);
    assert.equal((await putNew(origin, owner, quotaBytes)).status, 204);
    assert.equal((await putNew(origin, owner, 1)).code, 'quota-exceeded');
    assert.equal((await putNew(origin, inBoth, quotaBytes)).status, 204);
    assert.equal((await putNew(origin, inBoth, 1)).code, 'quota-exceeded');

    // four uploads at once may a user have, and a third project has room for them
    const third = await alsoInProjectOf(owner, await newOwner());
    const fourth = await alsoInProjectOf(owner, await newOwner());
    const running: Upload[] = [];
    for (const bearer of [third, fourth, third, fourth]) {
      const imageId = await createImage(origin, bearer);
      const upload = await Upload.begin({ origin, owner: bearer, imageId, contentLength: 2 });
      await upload.send(1);
      await eventually(async () => assert.ok(await gateway.upload(imageId), 'the upload is not listed'));
      running.push(upload);
    }
    assert.equal((await putNew(origin, third, 1)).code, 'uploads-exceeded');
    for (const upload of running) {
      await upload.send(1);
      assert.equal((await upload.finish()).status, 204);
    }
    assert.equal((await putNew(origin, third, 1)).status, 204);
  });
});
