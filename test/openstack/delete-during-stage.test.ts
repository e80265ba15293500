import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, deleteImage, statusInGlance } from './support/image.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { bytesOnDisk } from './support/stack.ts';
import { framed, framings, MiB, Upload } from './support/upload.ts';

const bytes = 100 * MiB;

// Glance counts staged bytes against no quota, and a stage goes on after its image was deleted
describe('a stage is an upload', () => {
  let gateway: Gateway;
  let owner: Owner;

  before(async () => {
    gateway = await Gateway.start({ quota: '200MiB' });
  });
  after(() => gateway.stop());
  beforeEach(async () => {
    owner = await newOwner();
  });

  for (const framing of framings) {
    it(`its bytes count while it runs, and a DELETE ends it with 410 (${framing})`, async () => {
      const { origin } = gateway;
      const imageId = await createImage(origin, owner);
      const stage = await Upload.begin({
        ...{ origin, owner, imageId, ...framed(framing, bytes) },
        action: 'stage',
      });
      await stage.send(8 * MiB);
      await eventually(async () => ((await bytesOnDisk('glance/staging', imageId)) ?? 0) > 0);
      const { uploads, saving_bytes } = await eventually(async () => {
        const view = await gateway.uploads();
        return view.uploads[0]?.received_bytes === 8 * MiB ? view : null;
      }, 'the stage is not listed with what it received');
      assert.equal(uploads[0]?.image, imageId);
      assert.equal(uploads[0]?.reserved_bytes, saving_bytes);
      if (framing === 'Content-Length') assert.equal(saving_bytes, bytes);
      else assert.ok(saving_bytes >= 8 * MiB, `${saving_bytes} bytes are reserved`);

      assert.equal(await deleteImage(origin, owner, imageId), 204);

      assert.equal((await gateway.uploads()).saving_bytes, 0);
      const answer = await eventually(() => stage.answered, 'the stager was not told');
      assert.equal(answer.status, 410);
      assert.equal(JSON.parse(answer.body.toString()).code, 'image-deleted');
      await eventually(async () => assert.equal(await bytesOnDisk('glance/staging', imageId), null));
      assert.equal(await statusInGlance(owner, imageId), null);
      await eventually(async () => assert.deepEqual((await gateway.uploads()).uploads, []));
    });
  }

  it('more than the quota is refused before Glance hears of it', async () => {
    const { origin } = gateway;
    const imageId = await createImage(origin, owner);
    const contentLength = 201 * MiB;
    const stage = await Upload.begin({ origin, owner, imageId, contentLength, action: 'stage' });
    const answer = await eventually(() => stage.answered, 'the stager was not told');
    assert.equal(answer.status, 413);
    assert.equal(JSON.parse(answer.body.toString()).code, 'quota-exceeded');
    assert.equal(await statusInGlance(owner, imageId), 'queued');
  });
});
