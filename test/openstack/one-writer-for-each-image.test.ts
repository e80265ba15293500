import assert from 'node:assert/strict';
import { z } from 'zod';
import { eventually } from '../support/eventually.ts';
import { Gateway } from './support/gateway.ts';
import { createImage } from './support/image.ts';
import { identityHeaders, newOwner, type Owner } from './support/owner.ts';
import { glanceOrigin } from './support/stack.ts';
import { MiB, put, putNew, Upload } from './support/upload.ts';

const quotaBytes = 8 * MiB;

/*
 * Three ways to store without end, found in Glance 25.1 by a hostile review (docs/decisions/0011): a member gives the image
 * away by `add` of /owner; a PATCH that is saved after an upload's end takes the size away; an import that begins while its
 * data is still being staged makes copies that no sum has.
 */
describe('what a member can do to the record of an image makes no room', () => {
  let gateway: Gateway;
  let owner: Owner;
  let other: Owner;

  before(async () => {
    gateway = await Gateway.start({ quota: `${quotaBytes}B` });
  });
  after(() => gateway.stop());
  beforeEach(async () => {
    owner = await newOwner();
    other = await newOwner();
  });

  const answered = z.object({ code: z.string() });
  const request = async (origin: string, method: string, path: string, type = '', body?: string) => {
    const answer = await fetch(`${origin}/v2/images/${path}`, {
      method,
      headers: { ...identityHeaders(owner), ...(type !== '' && { 'Content-Type': type }) },
      ...(body !== undefined && { body }),
    });
    const text = await answer.text();
    const problem = answer.headers.get('content-type') === 'application/problem+json';
    return { status: answer.status, code: problem ? answered.parse(JSON.parse(text)).code : '' };
  };
  const patchType = 'application/openstack-images-v2.1-json-patch';
  const patch = (origin: string, image: string, change: object) =>
    request(origin, 'PATCH', image, patchType, JSON.stringify([change]));

  it('giving it away is refused, which Glance itself is not able to', async () => {
    const { status, imageId } = await putNew(gateway.origin, owner, quotaBytes);
    assert.equal(status, 204);
    const gift = { op: 'add', path: '/owner', value: other.projectId };
    assert.deepEqual(await patch(gateway.origin, imageId, gift), { status: 403, code: 'owner-fixed' });
    assert.equal((await putNew(gateway.origin, owner, 1)).code, 'quota-exceeded');
    // the control: the day Glance refuses it, this says so. Who still sees the image afterwards may give it away
    const shown = { op: 'add', path: '/visibility', value: 'community' };
    assert.equal((await patch(glanceOrigin, imageId, shown)).status, 200);
    assert.equal((await patch(glanceOrigin, imageId, gift)).status, 200);
  });

  it('nobody changes it while its data comes in, and everybody may afterwards', async () => {
    const imageId = await createImage(gateway.origin, owner);
    const upload = await Upload.begin({ origin: gateway.origin, owner, imageId, contentLength: MiB });
    await upload.send(MiB / 2);
    await eventually(async () => (await gateway.upload(imageId)) !== null, 'it is under way');
    const change = { op: 'add', path: '/note', value: 'x' };
    const busy = { status: 409, code: 'image-busy' };
    assert.deepEqual(await patch(gateway.origin, imageId, change), busy);
    assert.deepEqual(await request(gateway.origin, 'PUT', `${imageId}/tags/t`), busy);
    assert.deepEqual(await request(gateway.origin, 'POST', `${imageId}/actions/deactivate`), busy);
    await upload.send(MiB / 2);
    assert.equal((await upload.finish()).status, 204);
    assert.equal((await patch(gateway.origin, imageId, change)).status, 200);
    assert.equal((await request(gateway.origin, 'PUT', `${imageId}/tags/t`)).status, 204);
  });

  it('nobody imports it before it is staged to its end', async () => {
    const imageId = await createImage(gateway.origin, owner);
    const stage = { origin: gateway.origin, owner, imageId, action: 'stage', contentLength: MiB } as const;
    const upload = await Upload.begin(stage);
    await upload.send(MiB / 2);
    await eventually(async () => (await gateway.upload(imageId)) !== null, 'it is under way');
    const call = JSON.stringify({ method: { name: 'glance-direct' } });
    const importIt = () => request(gateway.origin, 'POST', `${imageId}/import`, 'application/json', call);
    assert.deepEqual(await importIt(), { status: 409, code: 'image-busy' });
    await upload.send(MiB / 2);
    assert.equal((await upload.finish()).status, 204);
    assert.equal((await importIt()).status, 202);
  });

  it('many changes and many uploads of one image at once leave nothing uncounted', async () => {
    // an upload that fits is stored whole or not at all, whatever is changed meanwhile, and what is stored counts
    const images = await Promise.all(Array.from({ length: 4 }, () => createImage(gateway.origin, owner)));
    const results = await Promise.all(
      images.map(async (imageId) => {
        let done = false;
        const changing = (async () => {
          for (let n = 0; !done; n += 1)
            await patch(gateway.origin, imageId, { op: 'add', path: '/n', value: `${n}` });
        })();
        const { status } = await put(
          { origin: gateway.origin, owner, imageId, contentLength: 3 * MiB },
          3 * MiB,
        );
        done = true;
        await changing;
        return status;
      }),
    );
    const stored = results.filter((status) => status === 204).length;
    assert.equal(stored, 2, results.join());
    assert.equal((await putNew(gateway.origin, owner, 2 * MiB + 1)).code, 'quota-exceeded');
    assert.equal((await putNew(gateway.origin, owner, 2 * MiB)).status, 204);
  });
});
