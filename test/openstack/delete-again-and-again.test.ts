import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { Gateway } from './support/gateway.ts';
import { HighWater } from './support/high-water.ts';
import { createImage, deleteImage } from './support/image.ts';
import { newOwner } from './support/owner.ts';
import { bytesOnDisk, direct } from './support/stack.ts';
import { framed, framings, MiB, problemCode, Upload } from './support/upload.ts';

const quotaBytes = 12 * MiB;
const bytes = 8 * MiB; // two of them are over the quota
const rounds = 30;

// CVE-2014-9623: an image deleted while it was being saved went on filling the store, counted by nobody, so a user who
// uploaded and deleted in a loop had as much of the store as he liked. The other way round a gateway that counts must not
// let the bytes of a deleted upload stand in the way of the next.
describe('thirty times: an upload of two thirds of the quota, deleted in the middle, and at once the next', () => {
  for (const framing of framings) {
    it(`never meets the quota, never passes it, and leaves nothing (${framing})`, async () => {
      const gateway = await Gateway.start({ quota: `${quotaBytes}B` });
      const images: string[] = [];
      const highWater = new HighWater('glance/images', () => images.slice(-3));
      try {
        const { origin } = gateway;
        const owner = await newOwner();
        for (let round = 0; round < rounds; round += 1) {
          const imageId = await createImage(origin, owner);
          images.push(imageId);
          const upload = await Upload.begin({ origin, owner, imageId, ...framed(framing, bytes) });
          await upload.send(bytes / 2);
          await eventually(async () => ((await bytesOnDisk('glance/images', imageId)) ?? 0) > 0);
          assert.equal(upload.answered, null, `round ${round}: ${upload.answered?.body}`);

          assert.equal(await deleteImage(origin, owner, imageId), 204);

          assert.equal((await gateway.uploads()).saving_bytes, 0);
          assert.equal(problemCode(await upload.answer), direct ? '' : 'image-deleted');
        }
        for (const imageId of images) {
          await eventually(async () => assert.equal(await bytesOnDisk('glance/images', imageId), null));
        }
        assert.equal(await gateway.metric('sluice_uploads_total{ending="image-deleted"}'), rounds);
        const most = await highWater.stop();
        assert.ok(most > 0 && most <= quotaBytes, `${most} bytes were in the store at once`);
      } finally {
        await highWater.stop();
        await gateway.stop();
      }
    });
  }
});
