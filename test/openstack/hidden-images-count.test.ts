import assert from 'node:assert/strict';
import { Gateway } from './support/gateway.ts';
import { createImage, postToImage, setProperty } from './support/image.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { glanceOrigin } from './support/stack.ts';
import { MiB, put, putNew } from './support/upload.ts';

const quotaBytes = 16 * MiB;
const imageBytes = 2 * MiB;
const attempts = 12;
const starts = 3;

/** What an owner, or an administrator, does to an image that must not take it out of the quota; resolves with a status. */
type Change = (imageId: string, on: boolean) => Promise<number>;

// the plain list of Glance leaves hidden images out, but its quota does not; and a list is read in parts
describe('an image cannot be hidden from the quota', () => {
  let admin: Owner;
  let owner: Owner;
  let gateway: Gateway;
  let target: string;
  /** How often an image was changed so far. */
  let changed: number;
  let stopChanging: () => Promise<void>;

  const start = () => Gateway.start({ quota: `${quotaBytes}B` });
  const hide: Change = (imageId, on) => setProperty(glanceOrigin, owner, imageId, 'os_hidden', on);
  const publishAs =
    (visibility: string): Change =>
    (imageId, on) =>
      setProperty(glanceOrigin, owner, imageId, 'visibility', on ? visibility : 'private');
  const deactivate: Change = (imageId, on) =>
    postToImage(glanceOrigin, admin, imageId, `actions/${on ? 'deactivate' : 'reactivate'}`);
  const changes = [hide, hide, publishAs('community'), publishAs('shared'), deactivate];
  const leftBytes = quotaBytes - changes.length * imageBytes;

  before(async () => {
    admin = await newOwner({ role: 'admin' });
  });

  beforeEach(async () => {
    owner = await newOwner();
    gateway = await start();
    changed = 0;
    let busy = true;
    const changing = await Promise.all(
      changes.map(async (change) => {
        const { imageId, status } = await putNew(gateway.origin, owner, imageBytes);
        assert.equal(status, 204);
        const again = async (): Promise<void> => {
          for (let on = true; busy; on = !on) {
            const answered = await change(imageId, on);
            assert.ok(answered === 200 || answered === 204, `${answered}`);
            changed += 1;
          }
        };
        return again;
      }),
    );
    const running = changing.map((again) => again());
    stopChanging = async () => {
      busy = false;
      await Promise.all(running);
    };
    target = await createImage(glanceOrigin, owner);
  });
  afterEach(async () => {
    await stopChanging();
    await gateway.stop();
  });

  /** One byte more than what is left. */
  async function assertRefused(): Promise<void> {
    const contentLength = leftBytes + 1;
    const request = { origin: gateway.origin, owner, imageId: target, contentLength };
    assert.equal((await put(request, contentLength)).status, 413, `after ${changed} changes`);
  }

  it('by being hidden, published or deactivated and back in a loop, while uploads are admitted', async function () {
    for (let attempt = 0; attempt < attempts; attempt += 1) await assertRefused();
    if (this.test) this.test.title += ` (${changed} changes)`;
  });

  it('nor before a gateway that was just started and knows none of the images', async function () {
    for (let attempt = 0; attempt < starts; attempt += 1) {
      await gateway.stop();
      gateway = await start();
      await assertRefused();
    }
    if (this.test) this.test.title += ` (${changed} changes)`;
  });
});
