import assert from 'node:assert/strict';
import { Gateway } from './support/gateway.ts';
import { createImage, deleteImage, postToImage, setProperty } from './support/image.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { glanceOrigin } from './support/stack.ts';
import { MiB, put, putNew } from './support/upload.ts';

const quotaBytes = 16 * MiB;
const images = 4;
const imageBytes = 3 * MiB;
const leftBytes = quotaBytes - images * imageBytes;
const attempts = 25;

/** Things an owner, or an administrator for deactivation, does to an image that must not take it out of the quota. */
type Change = (imageId: string, on: boolean) => Promise<number>;

// the plain list of Glance leaves hidden images out, but its quota does not; and a list is read in parts
describe('an image cannot be hidden from the quota', () => {
  let admin: Owner;
  let owner: Owner;

  before(async () => {
    admin = await newOwner({ role: 'admin' });
  });
  beforeEach(async () => {
    owner = await newOwner();
  });

  const changes: Readonly<Record<string, Change>> = {
    'hidden and shown': (imageId, on) => setProperty(glanceOrigin, owner, imageId, 'os_hidden', on),
    'made community and private': (imageId, on) =>
      setProperty(glanceOrigin, owner, imageId, 'visibility', on ? 'community' : 'private'),
    'made shared and private': (imageId, on) =>
      setProperty(glanceOrigin, owner, imageId, 'visibility', on ? 'shared' : 'private'),
    'deactivated and activated again': (imageId, on) =>
      postToImage(glanceOrigin, admin, imageId, `actions/${on ? 'deactivate' : 'reactivate'}`),
  };

  for (const [name, change] of Object.entries(changes)) {
    for (const knowledge of ['that knows the images', 'that was just started'] as const) {
      it(`by being ${name} again and again, before a gateway ${knowledge}`, async function () {
        const stored: string[] = [];
        const filler = await Gateway.start({ quota: `${quotaBytes}B` });
        for (let i = 0; i < images; i += 1) {
          const { imageId, status } = await putNew(filler.origin, owner, imageBytes);
          assert.equal(status, 204);
          stored.push(imageId);
        }
        let gateway = filler;
        let busy = true;
        let changed = 0;
        const toggling = stored.map(async (imageId) => {
          for (let on = true; busy; on = !on) {
            const status = await change(imageId, on);
            assert.ok(status === 200 || status === 204, `${status}`);
            changed += 1;
          }
        });
        try {
          const target = await createImage(glanceOrigin, owner);
          for (
            let attempt = 0;
            attempt < (knowledge === 'that was just started' ? 4 : attempts);
            attempt += 1
          ) {
            if (knowledge === 'that was just started') {
              await gateway.stop();
              gateway = await Gateway.start({ quota: `${quotaBytes}B` });
            }
            const contentLength = leftBytes + 1;
            const request = { origin: gateway.origin, owner, imageId: target, contentLength };
            const { status } = await put(request, contentLength);
            assert.equal(status, 413, `attempt ${attempt}, after ${changed} changes`);
          }
        } finally {
          busy = false;
          await Promise.allSettled(toggling);
          await gateway.stop();
        }
        await Promise.all(toggling);
        if (this.test) this.test.title += ` (${changed} changes)`;
        for (const imageId of stored) await deleteImage(glanceOrigin, admin, imageId);
      });
    }
  }
});
