import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, deleteImage, imageInGlance } from './support/image.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { bytesOnDisk } from './support/stack.ts';
import { framed, framings, MiB, Upload } from './support/upload.ts';

const bytes = 16 * MiB;

// else anybody could stop anybody's upload
describe('a DELETE that Glance refuses does not touch the upload', () => {
  let gateway: Gateway;
  let owner: Owner;
  let stranger: Owner;

  before(async () => {
    gateway = await Gateway.start({ quota: '1GiB' });
    owner = await newOwner();
    stranger = await newOwner();
  });
  after(() => gateway.stop());

  for (const framing of framings) {
    it(`of a stranger, who is told 404 (${framing})`, async () => {
      await assertSurvives({}, () => stranger, 404);
    });
    it(`of a protected image, which is 403 (${framing})`, async () => {
      await assertSurvives({ protected: true }, () => owner, 403);
    });

    async function assertSurvives(
      properties: Readonly<Record<string, unknown>>,
      deleter: () => Owner,
      refusal: number,
    ): Promise<void> {
      const { origin } = gateway;
      const imageId = await createImage(origin, owner, properties);
      const upload = await Upload.begin({ origin, owner, imageId, ...framed(framing, bytes) });
      await upload.send(bytes / 2);
      await eventually(async () => ((await bytesOnDisk('glance/images', imageId)) ?? 0) > 0);

      assert.equal(await deleteImage(origin, deleter(), imageId), refusal);

      await upload.send(bytes / 2);
      assert.equal((await upload.finish()).status, 204);
      const image = await imageInGlance(owner, imageId);
      assert.equal(image?.status, 'active');
      assert.equal(image?.size, bytes);
    }
  }
});
