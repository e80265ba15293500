import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, deleteImage, postToImage, statusInGlance } from './support/image.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { bytesOnDisk } from './support/stack.ts';
import { MiB, Upload } from './support/upload.ts';

const count = 12;
const bytes = 4 * MiB;

// CVE-2014-9684 and CVE-2015-1881: images made in numbers and deleted before their upload or import task was over left
// their data behind, and whoever did so filled the store past every quota.
describe('a dozen images deleted before their data is whole', () => {
  let gateway: Gateway;
  let owner: Owner;

  beforeEach(async () => {
    gateway = await Gateway.start({ quota: `${count * bytes}B` });
    owner = await newOwner();
  });
  afterEach(() => gateway.stop());

  async function assertNothingIsLeft(images: readonly string[]): Promise<void> {
    for (const imageId of images) {
      assert.equal(await statusInGlance(owner, imageId), null);
      await eventually(async () => assert.equal(await bytesOnDisk('glance/images', imageId), null));
      await eventually(async () => assert.equal(await bytesOnDisk('glance/staging', imageId), null));
    }
    assert.equal((await gateway.uploads()).saving_bytes, 0);
    // the whole quota is there again, and not a byte more
    const { origin } = gateway;
    const big = await createImage(origin, owner);
    const over = await Upload.begin({ origin, owner, imageId: big, contentLength: count * bytes + 1 });
    assert.equal((await over.answer).status, 413);
    const whole = await Upload.begin({ origin, owner, imageId: big, contentLength: count * bytes });
    await whole.send(count * bytes);
    assert.equal((await whole.finish()).status, 204);
  }

  it('while they are all being uploaded: nothing is left, and the quota is whole again', async () => {
    const { origin } = gateway;
    const images = await Promise.all(Array.from({ length: count }, () => createImage(origin, owner)));
    const uploads = await Promise.all(
      images.map(async (imageId) => {
        const upload = await Upload.begin({ origin, owner, imageId, contentLength: bytes });
        await upload.send(bytes - 1);
        return upload;
      }),
    );
    for (const imageId of images) {
      await eventually(async () => ((await bytesOnDisk('glance/images', imageId)) ?? 0) > 0);
    }
    const deletions = await Promise.all(images.map((imageId) => deleteImage(origin, owner, imageId)));
    assert.deepEqual(new Set(deletions), new Set([204]));
    const answers = await Promise.all(uploads.map(({ answer }) => answer));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([410]));
    await assertNothingIsLeft(images);
  });

  it('while they are being imported: nothing is left, and the quota is whole again', async () => {
    const { origin } = gateway;
    const images: string[] = [];
    for (let i = 0; i < count; i += 1) {
      const imageId = await createImage(origin, owner);
      images.push(imageId);
      const stage = await Upload.begin({ origin, owner, imageId, contentLength: bytes, action: 'stage' });
      await stage.send(bytes);
      assert.equal((await stage.finish()).status, 204);
    }
    const method = { method: { name: 'glance-direct' } };
    const ends = await Promise.all(
      images.map(async (imageId) => {
        const imported = await postToImage(origin, owner, imageId, 'import', method);
        return [imported, await deleteImage(origin, owner, imageId)];
      }),
    );
    for (const end of ends) assert.deepEqual(end, [202, 204]);
    await assertNothingIsLeft(images);
  });
});
