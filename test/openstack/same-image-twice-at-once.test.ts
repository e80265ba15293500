import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, imageInGlance } from './support/image.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { framed, framings, MiB, put, putNew, Upload } from './support/upload.ts';

const quotaBytes = 24 * MiB;
const bytes = 8 * MiB;

describe('one image uploaded twice at once', () => {
  let gateway: Gateway;
  let owner: Owner;

  before(async () => {
    gateway = await Gateway.start({ quota: `${quotaBytes}B` });
  });
  after(() => gateway.stop());
  beforeEach(async () => {
    owner = await newOwner();
  });

  async function assertStoredOnce(imageId: string): Promise<void> {
    await eventually(async () => assert.equal((await gateway.uploads()).saving_bytes, 0));
    assert.equal((await imageInGlance(owner, imageId))?.status, 'active');
    assert.equal((await imageInGlance(owner, imageId))?.size, bytes);
  }

  for (const framing of framings) {
    it(`the second is told 409, its bytes come back, and the first wins (${framing})`, async () => {
      const { origin } = gateway;
      const imageId = await createImage(origin, owner);
      const request = { origin, owner, imageId, ...framed(framing, bytes) };
      const first = await Upload.begin(request);
      await first.send(bytes / 2);
      await eventually(async () => assert.equal((await imageInGlance(owner, imageId))?.status, 'saving'));
      const reserved = (await gateway.uploads()).saving_bytes;

      assert.equal((await put(request, bytes)).status, 409);
      await eventually(async () => assert.equal((await gateway.uploads()).saving_bytes, reserved));

      await first.send(bytes / 2);
      assert.equal((await first.finish()).status, 204);
      await assertStoredOnce(imageId);
      assert.equal((await putNew(origin, owner, quotaBytes - bytes + 1)).code, 'quota-exceeded');
      assert.equal((await putNew(origin, owner, quotaBytes - bytes)).status, 204);
    });

    it(`both at the same moment: one is stored, and only that one counts (${framing})`, async () => {
      const { origin } = gateway;
      const imageId = await createImage(origin, owner);
      const request = { origin, owner, imageId, ...framed(framing, bytes) };
      const answers = await Promise.all([put(request, bytes), put(request, bytes)]);
      const [won, lost] = answers.map(({ status }) => status).sort();
      assert.equal(won, 204);
      // 410 where both had seen it `queued`
      assert.ok(lost === 409 || lost === 410, `${lost}`);
      await assertStoredOnce(imageId);
      assert.equal((await putNew(origin, owner, quotaBytes - bytes + 1)).code, 'quota-exceeded');
      assert.equal((await putNew(origin, owner, quotaBytes - bytes)).status, 204);
    });
  }
});
