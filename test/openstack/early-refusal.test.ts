import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { eventually } from '../support/eventually.ts';
import type { RawResponse } from '../support/raw-client.ts';
import { Gateway } from './support/gateway.ts';
import { createImage } from './support/image.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { framed, framings, MiB, Upload, type UploadRequest } from './support/upload.ts';

const bytes = 1024 * MiB;

interface Refusal {
  readonly status: number;
  /** True where the gateway must not look at the token, so that Glance does. */
  readonly ofIdentity?: boolean;
  /** What of the request Glance objects to. */
  readonly request: (origin: string, owner: Owner) => Promise<Pick<UploadRequest, 'imageId' | 'headers'>>;
}

const refusals: Readonly<Record<string, Refusal>> = {
  'an unknown store': {
    status: 400,
    request: async (origin, owner) => ({
      imageId: await createImage(origin, owner),
      headers: { 'X-Image-Meta-Store': 'nowhere' },
    }),
  },
  'a bad token': {
    status: 401,
    ofIdentity: true,
    request: async (origin, owner) => ({
      imageId: await createImage(origin, owner),
      headers: { 'X-Auth-Token': 'not-a-token' },
    }),
  },
  'an unknown image': { status: 404, request: async () => ({ imageId: randomUUID() }) },
  'an image that has its data': {
    status: 409,
    request: async (origin, owner) => {
      const imageId = await createImage(origin, owner);
      const first = await Upload.begin({ origin, owner, imageId, contentLength: 1 });
      await first.send(1);
      assert.equal((await first.finish()).status, 204);
      return { imageId };
    },
  },
};

function assertFromGlance(answer: RawResponse, status: number): void {
  const text = answer.body.toString();
  assert.equal(answer.status, status, text);
  // the gateway's own refusals are problem documents
  assert.deepEqual(answer.headers.get('content-type')?.join().includes('problem'), false, text);
}

describe("Glance's refusal reaches a client that is still sending", () => {
  let gateway: Gateway;
  let withoutIdentity: Gateway;
  let owner: Owner;

  before(async () => {
    gateway = await Gateway.start();
    withoutIdentity = await Gateway.start({ identity: 'none' });
    owner = await newOwner();
  });
  after(async () => {
    await gateway.stop();
    await withoutIdentity.stop();
  });

  for (const [name, refusal] of Object.entries(refusals)) {
    for (const framing of framings) {
      const begin = async () =>
        Upload.begin({
          ...{ origin: (refusal.ofIdentity ? withoutIdentity : gateway).origin, owner },
          ...framed(framing, bytes),
          ...(await refusal.request(gateway.origin, owner)),
        });

      it(`${refusal.status} for ${name}, while the client waits with most of its body (${framing})`, async () => {
        const upload = await begin();
        await upload.send(MiB);
        const answer = await eventually(() => upload.answered, 'no answer');
        assertFromGlance(answer, refusal.status);
      });

      it(`${refusal.status} for ${name}, while the client sends as fast as it can (${framing})`, async () => {
        const upload = await begin();
        await upload.send(bytes);
        const answer = await upload.answer;
        assertFromGlance(answer, refusal.status);
        assert.ok(upload.sentBytes < bytes, 'the answer came only after the whole body');
      });
    }
  }

  it('and no upload is left over', async () => {
    for (const each of [gateway, withoutIdentity]) {
      await eventually(async () => assert.deepEqual(await each.uploads(), { uploads: [], saving_bytes: 0 }));
    }
  });
});
