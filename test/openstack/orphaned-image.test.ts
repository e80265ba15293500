import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, deleteImage, imageInGlance } from './support/image.ts';
import { newOwner } from './support/owner.ts';
import { Service } from './support/service.ts';
import { bytesOnDisk, glanceWithQuotaOrigin } from './support/stack.ts';
import { MiB, Upload } from './support/upload.ts';

const bytes = 8 * MiB;

// a Glance that dies leaves the image in `saving` for ever, and only a DELETE helps
describe('an image whose upload Glance did not survive', () => {
  it('is reported to the operator until it is deleted, and an upload that runs is not', async () => {
    const glance = new Service('glance-quota');
    const gateway = await Gateway.start({
      upstream: glanceWithQuotaOrigin,
      quota: '100MiB',
      serviceAccount: true,
      orphans: { interval: '300ms', min_age: '0s' },
    });
    try {
      const { origin } = gateway;
      const owner = await newOwner();
      const imageId = await createImage(origin, owner);
      const reported = async () => {
        const { orphans } = await gateway.orphans();
        return orphans.find(({ image }) => image === imageId) ?? null;
      };
      const upload = await Upload.begin({ origin, owner, imageId, contentLength: bytes });
      await upload.send(bytes / 2);
      await eventually(async () => ((await bytesOnDisk('glance-quota/images', imageId)) ?? 0) > 0);
      const begunAt = new Date().toISOString();
      await eventually(async () => ((await gateway.orphans()).scanned_at ?? '') > begunAt);
      assert.equal(await reported(), null);

      await glance.signal('SIGKILL');
      const answer = await upload.answer;
      assert.equal(answer.status, 502);
      await eventually(async () =>
        assert.deepEqual(await gateway.uploads(), { uploads: [], saving_bytes: 0 }),
      );
      await glance.start();

      const record = await imageInGlance(owner, imageId, glanceWithQuotaOrigin);
      assert.equal(record?.status, 'saving');
      const orphan = await eventually(reported, 'the image is not reported');
      assert.equal(orphan.owner, owner.projectId);
      assert.equal((await gateway.orphans()).problem, null);
      assert.ok((await gateway.metric('sluice_orphans')) >= 1);
      const about = async () =>
        (await gateway.logLines()).filter(
          (line) => line.includes('left in saving') && line.includes(imageId),
        );
      // lines of the log are written a few at a time
      await eventually(async () => (await about()).length > 0, 'it is logged');
      const { scanned_at: seenAt } = await gateway.orphans();
      await eventually(async () => ((await gateway.orphans()).scanned_at ?? '') > (seenAt ?? ''));
      assert.equal((await about()).length, 1, 'it is logged once');

      assert.equal(await deleteImage(origin, owner, imageId), 204);
      await eventually(async () => assert.equal(await reported(), null));
    } finally {
      await gateway.stop();
      await glance.start();
    }
  });
});
