import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import type { RawResponse } from '../support/raw-client.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, imageInGlance } from './support/image.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { bytesOnDisk } from './support/stack.ts';
import { MiB, problemCode, put, putNew, Upload } from './support/upload.ts';

const quotaBytes = 16 * MiB;
const bytes = 8 * MiB;

const said = (size: number): { readonly headers: Readonly<Record<string, string>> } => ({
  headers: { 'x-openstack-image-size': String(size) },
});

// Glance of the Zed release knows no x-openstack-image-size, and takes a body that is cut short by a FIN for whole
describe('an upload whose size is not what was said', () => {
  let gateway: Gateway;
  let owner: Owner;
  let imageId: string;

  before(async () => {
    gateway = await Gateway.start({ quota: `${quotaBytes}B` });
  });
  after(() => gateway.stop());
  beforeEach(async () => {
    owner = await newOwner();
    imageId = await createImage(gateway.origin, owner);
  });

  const request = () => ({ origin: gateway.origin, owner, imageId });

  function assertRefused(answer: RawResponse, code: string): void {
    assert.equal(answer.status, 400, answer.body.toString());
    assert.equal(problemCode(answer), code);
  }

  /** The image has no data, and the whole quota is free. */
  async function assertUndone(): Promise<void> {
    await eventually(async () => assert.equal((await gateway.uploads()).saving_bytes, 0));
    await eventually(async () => assert.equal((await imageInGlance(owner, imageId))?.status, 'queued'));
    await eventually(async () => assert.equal(await bytesOnDisk('glance/images', imageId), null));
    assert.equal((await putNew(gateway.origin, owner, quotaBytes)).status, 204);
  }

  it('x-openstack-image-size and Content-Length differ: refused at once', async () => {
    for (const size of [bytes - 1, bytes + 1, 1]) {
      const upload = await Upload.begin({ ...request(), contentLength: bytes, ...said(size) });
      assertRefused(await upload.answer, 'size-mismatch');
    }
    await assertUndone();
  });

  for (const size of ['-1', '1e3', '0x10', '', '8388608, 1']) {
    it(`x-openstack-image-size is ${JSON.stringify(size)}: refused at once`, async () => {
      const upload = await Upload.begin({ ...request(), headers: { 'x-openstack-image-size': size } });
      const answer = await upload.answer;
      assert.equal(answer.status, 400);
      assert.notEqual(problemCode(answer), '');
      await assertUndone();
    });
  }

  it('a chunked body of one byte more than x-openstack-image-size', async () => {
    const answer = await put({ ...request(), ...said(bytes) }, bytes + 1);
    assertRefused(answer, 'size-mismatch');
    await assertUndone();
  });

  it('a chunked body of one byte less than x-openstack-image-size', async () => {
    const answer = await put({ ...request(), ...said(bytes) }, bytes - 1);
    assertRefused(answer, 'size-mismatch');
    await assertUndone();
  });

  it('a huge body that says it is small', async () => {
    const upload = await Upload.begin({ ...request(), ...said(1) });
    await upload.send(64 * MiB);
    assertRefused(await upload.answer, 'size-mismatch');
    await assertUndone();
  });

  it('a small body that says it is huge does not get past the quota', async () => {
    const upload = await Upload.begin({ ...request(), ...said(quotaBytes + 1) });
    assert.equal(problemCode(await upload.answer), 'quota-exceeded');
    await assertUndone();
  });

  for (const end of ['FIN', 'RST'] as const) {
    it(`one byte less than Content-Length, then ${end}`, async () => {
      const upload = await Upload.begin({ ...request(), contentLength: bytes });
      await upload.send(bytes - 1);
      await eventually(async () => ((await bytesOnDisk('glance/images', imageId)) ?? 0) > 0);
      if (end === 'FIN') upload.client.end();
      else upload.client.reset();
      await assertUndone();
    });
  }

  it('one byte more than Content-Length: the image has the length that was said', async () => {
    const upload = await Upload.begin({ ...request(), contentLength: bytes });
    await upload.send(bytes);
    await upload.client.write('x');
    assert.equal((await upload.answer).status, 204);
    const image = await imageInGlance(owner, imageId);
    assert.equal(image?.status, 'active');
    assert.equal(image?.size, bytes);
    assert.equal((await putNew(gateway.origin, owner, quotaBytes - bytes + 1)).code, 'quota-exceeded');
    assert.equal((await putNew(gateway.origin, owner, quotaBytes - bytes)).status, 204);
  });
});
