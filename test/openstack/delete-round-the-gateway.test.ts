import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, deleteImage } from './support/image.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { bytesOnDisk, glanceOrigin } from './support/stack.ts';
import { framed, framings, MiB, problemCode, Upload } from './support/upload.ts';

const bytes = 16 * MiB;

describe('a delete that goes to Glance without passing the gateway', () => {
  let gateway: Gateway;
  let owner: Owner;

  beforeEach(async () => {
    gateway = await Gateway.start({ quota: `${bytes}B`, watchInterval: '500ms' });
    owner = await newOwner();
  });
  afterEach(() => gateway.stop());

  for (const framing of framings) {
    for (const action of ['file', 'stage'] as const) {
      it(`ends the ${action === 'file' ? 'upload' : 'stage'} as image-deleted all the same (${framing})`, async () => {
        const { origin } = gateway;
        const imageId = await createImage(origin, owner);
        const store = action === 'file' ? 'glance/images' : 'glance/staging';
        const upload = await Upload.begin({ origin, owner, imageId, action, ...framed(framing, bytes) });
        await upload.send(bytes / 2);
        await eventually(async () => ((await bytesOnDisk(store, imageId)) ?? 0) > 0);

        assert.equal(await deleteImage(glanceOrigin, owner, imageId), 204);

        // the uploader sends no more, so nothing but the watch can have noticed
        const answer = await eventually(() => upload.answered, 'the uploader was not told');
        assert.equal(answer.status, 410);
        assert.equal(problemCode(answer), 'image-deleted');
        await eventually(async () =>
          assert.deepEqual(await gateway.uploads(), { uploads: [], saving_bytes: 0 }),
        );
        await eventually(async () => assert.equal(await bytesOnDisk(store, imageId), null));
        assert.equal(await gateway.metric('sluice_uploads_total{ending="image-deleted"}'), 1);
      });
    }
  }
});
