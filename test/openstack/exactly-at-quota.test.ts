import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import type { RawResponse } from '../support/raw-client.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, imageInGlance, statusInGlance } from './support/image.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { type Framing, framed, framings, MiB, Upload } from './support/upload.ts';

const quotaBytes = 20 * MiB;

describe('a quota of 20 MiB is exact', () => {
  let gateway: Gateway;
  let owner: Owner;

  before(async () => {
    gateway = await Gateway.start({ quota: '20MiB' });
  });
  after(() => gateway.stop());
  beforeEach(async () => {
    owner = await newOwner();
  });

  async function put(
    framing: Framing,
    bytes: number,
  ): Promise<{ readonly imageId: string; readonly answer: RawResponse }> {
    const { origin } = gateway;
    const imageId = await createImage(origin, owner);
    const upload = await Upload.begin({ origin, owner, imageId, ...framed(framing, bytes) });
    await upload.send(bytes);
    const answer = await upload.finish();
    // a refused upload gives its bytes back only when its connection to Glance is gone
    await eventually(async () => assert.equal((await gateway.uploads()).saving_bytes, 0));
    return { imageId, answer };
  }

  for (const framing of framings) {
    for (const bytes of [quotaBytes - 1, quotaBytes]) {
      it(`${bytes} bytes are stored (${framing})`, async () => {
        const { imageId, answer } = await put(framing, bytes);
        assert.equal(answer.status, 204);
        const image = await imageInGlance(owner, imageId);
        assert.equal(image?.status, 'active');
        assert.equal(image?.size, bytes);
      });
    }

    it(`${quotaBytes + 1} bytes are refused (${framing})`, async () => {
      const { imageId, answer } = await put(framing, quotaBytes + 1);
      assert.equal(answer.status, 413);
      assert.equal(JSON.parse(answer.body.toString()).code, 'quota-exceeded');
      await eventually(async () => assert.equal(await statusInGlance(owner, imageId), 'queued'));
    });

    it(`what is stored counts: 8 MiB fit beside 12 MiB, and then not one byte more (${framing})`, async () => {
      assert.equal((await put(framing, 12 * MiB)).answer.status, 204);
      assert.equal((await put(framing, 8 * MiB + 1)).answer.status, 413);
      assert.equal((await put(framing, 8 * MiB)).answer.status, 204);
      assert.equal((await put(framing, 1)).answer.status, 413);
    });
  }
});
