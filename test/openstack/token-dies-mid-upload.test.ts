import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../support/eventually.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, deleteImage, imageInGlance } from './support/image.ts';
import { applicationCredentialToken, revoke } from './support/keystone.ts';
import { type Bearer, identityHeaders, newOwner, type Owner, withNewToken } from './support/owner.ts';
import { bytesOnDisk, glanceOrigin, keystoneUrl } from './support/stack.ts';
import { MiB, putNew, Upload } from './support/upload.ts';

const bytes = 16 * MiB;
const quotaBytes = 24 * MiB;

/** Long enough to begin an upload in, whatever else the machine does. */
const lifetimeMs = 8_000;

/** Ways in which a token dies, and what hastens it. */
const deaths: Readonly<
  Record<
    string,
    {
      mortal: (owner: Owner, diesAtMs: number) => Promise<Bearer>;
      kill: (token: string, diesAtMs: number) => Promise<void>;
    }
  >
> = {
  expires: {
    // Keystone ends the tokens of an application credential with it
    mortal: (owner, diesAtMs) => applicationCredentialToken(owner, { expiresAt: new Date(diesAtMs) }),
    kill: async (_, diesAtMs) => await sleep(diesAtMs - Date.now()),
  },
  'is revoked': { mortal: withNewToken, kill: revoke },
};

// CVE-2015-5286: a token that expired during an upload let a user delete the image, and Glance, with that token in its
// hand, could not clean up: the data stayed, counted by no quota.
describe('a token that dies in the middle of an upload', () => {
  let gateway: Gateway;
  let owner: Owner;

  before(async () => {
    gateway = await Gateway.start({
      quota: `${quotaBytes}B`,
      serviceAccount: true,
      watchInterval: '250ms',
    });
  });
  after(() => gateway.stop());
  beforeEach(async () => {
    owner = await newOwner();
  });

  for (const [how, { mortal, kill }] of Object.entries(deaths)) {
    /** An upload that is half done when its token is dead. */
    async function orphanedUpload(): Promise<{ readonly upload: Upload; readonly imageId: string }> {
      const { origin } = gateway;
      const diesAtMs = Date.now() + lifetimeMs;
      const uploader = await mortal(owner, diesAtMs);
      const imageId = await createImage(origin, owner);
      const upload = await Upload.begin({ origin, owner: uploader, imageId, contentLength: bytes });
      await upload.send(bytes / 2);
      await eventually(async () => ((await bytesOnDisk('glance/images', imageId)) ?? 0) > 0);
      await kill(uploader.token, diesAtMs);
      await eventually(async () => {
        const headers = { ...identityHeaders(owner), 'X-Subject-Token': uploader.token };
        assert.equal((await fetch(`${keystoneUrl}/auth/tokens`, { headers })).status, 404);
      });
      assert.equal(upload.answered, null);
      return { upload, imageId };
    }

    it(`${how}, and the upload is stored and counted`, async () => {
      const { upload, imageId } = await orphanedUpload();
      await upload.send(bytes / 2);
      assert.equal((await upload.finish()).status, 204);
      assert.equal((await imageInGlance(owner, imageId))?.size, bytes);
      assert.equal((await putNew(gateway.origin, owner, quotaBytes - bytes + 1)).status, 413);
      assert.equal((await putNew(gateway.origin, owner, quotaBytes - bytes)).status, 204);
    });

    it(`${how}, and a delete round the gateway still ends the upload`, async () => {
      const { upload, imageId } = await orphanedUpload();
      assert.equal(await deleteImage(glanceOrigin, owner, imageId), 204);
      const answer = await eventually(() => upload.answered, 'the uploader was not told');
      assert.equal(answer.status, 410);
      await eventually(async () => assert.equal(await bytesOnDisk('glance/images', imageId), null));
      assert.equal((await gateway.uploads()).saving_bytes, 0);
      assert.equal((await putNew(gateway.origin, owner, quotaBytes)).status, 204);
    });
  }
});
