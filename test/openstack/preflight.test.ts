import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { eventually } from '../support/eventually.ts';
import { CountingTap } from './support/counting-tap.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, imageInGlance } from './support/image.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { glanceOrigin } from './support/stack.ts';
import { framed, framings, MiB, put, Upload } from './support/upload.ts';

const bytes = 3 * MiB + 1;

for (const preflight of ['expect', 'request'] as const) {
  describe(`Glance is asked before the body (preflight: ${preflight})`, () => {
    let tap: CountingTap;
    let gateway: Gateway;
    let owner: Owner;

    before(async () => {
      tap = await CountingTap.start(glanceOrigin);
      // who waits for that long has not heard 100 from Glance, and fails
      const settings = { preflight, continue_wait: '10m' };
      gateway = await Gateway.start({ upstream: tap.origin, identity: 'none', preflight: settings });
      owner = await newOwner();
    });
    after(async () => {
      await gateway.stop();
      await tap.stop();
    });

    for (const framing of framings) {
      it(`and stores what it has agreed to (${framing})`, async () => {
        const imageId = await createImage(gateway.origin, owner);
        const answer = await put(
          { origin: gateway.origin, owner, imageId, ...framed(framing, bytes) },
          bytes,
        );
        assert.equal(answer.status, 204, answer.body.toString());
        const image = await imageInGlance(owner, imageId);
        assert.deepEqual([image?.status, image?.size], ['active', bytes]);
      });

      for (const [status, what] of [
        [401, 'a bad token'],
        [404, 'an unknown image'],
      ] as const) {
        it(`${status} for ${what} costs the client no byte (${framing})`, async () => {
          const imageId = status === 404 ? randomUUID() : await createImage(gateway.origin, owner);
          const token = status === 401 ? { 'X-Auth-Token': 'not-a-token' } : {};
          const headers = { ...token, Expect: '100-continue' };
          const upload = await Upload.begin({
            origin: gateway.origin,
            owner,
            imageId,
            ...framed(framing, bytes),
            headers,
          });
          const answer = await upload.answer;
          assert.equal(answer.status, status, answer.body.toString());
          assert.deepEqual(answer.informational, [], 'the client was not asked for its body');
          for (const { bodyBytes } of tap.seen('PUT', imageId)) assert.equal(bodyBytes, 0);
          await eventually(async () =>
            assert.deepEqual(await gateway.uploads(), { uploads: [], saving_bytes: 0 }),
          );
        });
      }
    }
  });
}
