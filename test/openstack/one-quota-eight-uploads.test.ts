import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { CountingTap } from './support/counting-tap.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, imageInGlance, statusInGlance } from './support/image.ts';
import { newOwner } from './support/owner.ts';
import { bytesOnDisk, glanceOrigin, glanceWithQuotaOrigin } from './support/stack.ts';
import { KiB, MiB, Upload } from './support/upload.ts';

const count = 8;
const contentLength = 50 * MiB;

// Glance counts an image that is being uploaded as nothing: CVE-2014-9623 and its family
describe('eight uploads of 50 MiB at once under a quota of 200 MiB', () => {
  it('the gateway lets four in, and no byte of the others reaches Glance', async () => {
    const tap = await CountingTap.start(glanceOrigin);
    const gateway = await Gateway.start({ upstream: tap.origin, quota: '200MiB' });
    try {
      const owner = await newOwner();
      const images = await Promise.all(
        Array.from({ length: count }, () => createImage(gateway.origin, owner)),
      );
      const answers = await Promise.all(
        images.map(async (imageId) => {
          const upload = await Upload.begin({ origin: gateway.origin, owner, imageId, contentLength });
          await upload.send(contentLength);
          return { imageId, answer: await upload.finish() };
        }),
      );

      assert.deepEqual(answers.map(({ answer }) => answer.status).sort(), [
        ...[204, 204, 204, 204],
        ...[413, 413, 413, 413],
      ]);
      for (const { imageId, answer } of answers) {
        const puts = tap.seen('PUT', imageId);
        if (answer.status === 204) {
          assert.equal(await statusInGlance(owner, imageId), 'active');
          assert.deepEqual(
            puts.map(({ bodyBytes }) => bodyBytes),
            [contentLength],
          );
        } else {
          assert.deepEqual(answer.headers.get('content-type'), ['application/problem+json']);
          const problem = JSON.parse(answer.body.toString());
          assert.equal(problem.code, 'quota-exceeded');
          assert.equal(problem.requested, contentLength);
          assert.equal(await statusInGlance(owner, imageId), 'queued');
          assert.deepEqual(puts, []);
        }
      }
      assert.equal((await gateway.uploads()).saving_bytes, 0);
    } finally {
      await gateway.stop();
      await tap.stop();
    }
  });

  it('Glance with user_storage_quota alone stores more than four', async function () {
    const origin = glanceWithQuotaOrigin;
    const owner = await newOwner();
    const uploads = await Promise.all(
      Array.from({ length: count }, async () => {
        const imageId = await createImage(origin, owner);
        const upload = await Upload.begin({ origin, owner, imageId, contentLength });
        await upload.send(contentLength - 1);
        return { imageId, upload };
      }),
    );
    // all but what Glance reads at once (64 KiB) is on disk: from here on they end together
    for (const { imageId } of uploads) {
      await eventually(async () => {
        const bytes = (await bytesOnDisk('glance-quota/images', imageId)) ?? 0;
        return bytes >= contentLength - 64 * KiB;
      });
    }
    await Promise.all(uploads.map(({ upload }) => upload.send(1)));
    await Promise.all(uploads.map(({ upload }) => upload.finish()));

    const statuses = await Promise.all(
      uploads.map(async ({ imageId }) => (await imageInGlance(owner, imageId, origin))?.status),
    );
    const active = statuses.filter((status) => status === 'active').length;
    if (this.test) this.test.title += ` (${active} of ${count})`;
    assert.ok(active > 4, `${active} of ${count} became active: is there a Glance that keeps its quota?`);
  });
});
