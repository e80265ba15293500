import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, postToImage, statusInGlance } from './support/image.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { framed, framings, MiB, put, putNew } from './support/upload.ts';

const quotaBytes = 32 * MiB;
const stagedBytes = 20 * MiB;

// Glance's user_storage_quota knows nothing of staged bytes: two stages of 150 MB pass a quota of 200 MB
describe('staging instead of uploading does not go round the quota', () => {
  let gateway: Gateway;
  let owner: Owner;

  before(async () => {
    gateway = await Gateway.start({ quota: `${quotaBytes}B` });
  });
  after(() => gateway.stop());
  beforeEach(async () => {
    owner = await newOwner();
  });

  for (const framing of framings) {
    it(`staged bytes count, and once, before, during and after the import (${framing})`, async () => {
      const { origin } = gateway;
      const imageId = await createImage(origin, owner);
      const assertCounted = async (): Promise<void> => {
        assert.equal((await putNew(origin, owner, quotaBytes - stagedBytes + 1)).code, 'quota-exceeded');
      };
      const stage = { origin, owner, imageId, action: 'stage', ...framed(framing, stagedBytes) } as const;
      assert.equal((await put(stage, stagedBytes)).status, 204);
      await assertCounted();

      const method = { method: { name: 'glance-direct' } };
      assert.equal(await postToImage(origin, owner, imageId, 'import', method), 202);
      await eventually(async () => {
        await assertCounted();
        return (await statusInGlance(owner, imageId)) === 'active';
      });
      await assertCounted();
      assert.equal((await putNew(origin, owner, quotaBytes - stagedBytes)).status, 204);
      assert.equal((await putNew(origin, owner, 1)).code, 'quota-exceeded');
    });
  }

  it('stages at once never pass it together', async () => {
    const { origin } = gateway;
    const images = await Promise.all(Array.from({ length: 4 }, () => createImage(origin, owner)));
    const answers = await Promise.all(
      images.map((imageId) =>
        put({ origin, owner, imageId, action: 'stage', contentLength: stagedBytes }, stagedBytes),
      ),
    );
    assert.deepEqual(answers.map(({ status }) => status).sort(), [204, 413, 413, 413]);
  });
});
