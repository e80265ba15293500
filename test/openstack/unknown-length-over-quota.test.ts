import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { CountingTap } from './support/counting-tap.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, statusInGlance } from './support/image.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { bytesOnDisk, glanceOrigin } from './support/stack.ts';
import { MiB, Upload } from './support/upload.ts';

const quotaBytes = 21 * MiB; // not a whole number of chunks of 4 MiB

describe('an upload of unknown length that outgrows its quota', () => {
  let tap: CountingTap;
  let gateway: Gateway;
  let owner: Owner;
  let imageId: string;

  beforeEach(async () => {
    tap = await CountingTap.start(glanceOrigin);
    gateway = await Gateway.start({ upstream: tap.origin, quota: `${quotaBytes}B` });
    owner = await newOwner();
    imageId = await createImage(gateway.origin, owner);
  });
  afterEach(async () => {
    await gateway.stop();
    await tap.stop();
  });

  async function assertRefusedAndUndone(upload: Upload): Promise<void> {
    const answer = await eventually(() => upload.answered, 'no answer');
    assert.equal(answer.status, 413);
    assert.equal(JSON.parse(answer.body.toString()).code, 'quota-exceeded');
    await eventually(async () => assert.equal(await statusInGlance(owner, imageId), 'queued'));
    await eventually(async () => assert.equal(await bytesOnDisk('glance/images', imageId), null));
    await eventually(async () => assert.equal((await gateway.uploads()).saving_bytes, 0));
    assert.equal(await gateway.metric('sluice_uploads_total{ending="quota-exceeded"}'), 1);
    const [put] = tap.seen('PUT', imageId);
    assert.ok(put && put.bodyBytes <= quotaBytes, `${put?.bodyBytes} bytes went to Glance`);
  }

  it('is refused at the first byte over, and Glance never has more than the quota', async () => {
    const upload = await Upload.begin({ origin: gateway.origin, owner, imageId });
    await upload.send(quotaBytes);
    await eventually(() => tap.seen('PUT', imageId)[0]?.bodyBytes === quotaBytes);
    assert.equal((await gateway.upload(imageId))?.reserved_bytes, quotaBytes);
    assert.equal(upload.answered, null);

    await upload.send(1);
    await assertRefusedAndUndone(upload);
  });

  it('is refused the same when it comes as fast as it can', async () => {
    const upload = await Upload.begin({ origin: gateway.origin, owner, imageId });
    await upload.send(10 * quotaBytes);
    await assertRefusedAndUndone(upload);
    assert.ok(upload.sentBytes < 10 * quotaBytes, 'the answer came only after the whole body');
  });

  it('leaves an image that can be uploaded again', async () => {
    const tooLong = await Upload.begin({ origin: gateway.origin, owner, imageId });
    await tooLong.send(quotaBytes + 1);
    await assertRefusedAndUndone(tooLong);

    const again = await Upload.begin({ origin: gateway.origin, owner, imageId });
    await again.send(MiB);
    assert.equal((await again.finish()).status, 204);
    assert.equal(await statusInGlance(owner, imageId), 'active');
  });
});
