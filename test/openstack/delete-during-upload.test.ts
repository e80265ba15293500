import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, deleteImage, statusInGlance } from './support/image.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { bytesOnDisk } from './support/stack.ts';
import { framed, framings, MiB, Upload } from './support/upload.ts';

const bytes = 100 * MiB;

// Glance itself answers the DELETE, and goes on reading and writing until the client's last byte
describe('an image deleted during its upload', () => {
  let gateway: Gateway;
  let owner: Owner;

  beforeEach(async () => {
    gateway = await Gateway.start({ quota: '1GiB' });
    owner = await newOwner();
  });
  afterEach(() => gateway.stop());

  for (const framing of framings) {
    it(`ends the upload with 410 at once and leaves nothing behind (${framing})`, async () => {
      const { origin } = gateway;
      const imageId = await createImage(origin, owner);
      const upload = await Upload.begin({ origin, owner, imageId, ...framed(framing, bytes) });
      await upload.send(8 * MiB);
      await eventually(async () => ((await bytesOnDisk('glance/images', imageId)) ?? 0) > 0);
      assert.ok(await gateway.upload(imageId), 'the upload is not listed');

      assert.equal(await deleteImage(origin, owner, imageId), 204);

      // the deleter may rely on it: with the answer, the bytes are free again
      assert.equal((await gateway.uploads()).saving_bytes, 0);
      // the uploader waits for its own next bytes, so only the deletion can have brought the answer
      const answer = await eventually(() => upload.answered, 'the uploader was not told');
      assert.equal(answer.status, 410);
      assert.equal(JSON.parse(answer.body.toString()).code, 'image-deleted');
      await eventually(async () => assert.equal(await bytesOnDisk('glance/images', imageId), null));
      assert.equal(await statusInGlance(owner, imageId), null);
      await eventually(async () => assert.deepEqual((await gateway.uploads()).uploads, []));
      assert.equal(await gateway.metric('sluice_uploads_total{ending="image-deleted"}'), 1);
    });
  }
});
