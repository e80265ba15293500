import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { CountingTap } from './support/counting-tap.ts';
import { Gateway } from './support/gateway.ts';
import { createImage } from './support/image.ts';
import { limitProject } from './support/keystone.ts';
import { newOwner, type Owner } from './support/owner.ts';
import { glanceWithLimitsOrigin } from './support/stack.ts';
import { framings, MiB, problemCode, put, putNew, Upload } from './support/upload.ts';

// Glance with use_keystone_limits looks at what is stored when an upload begins, and at nothing after that
describe('the unified limits of the cloud hold to the byte', () => {
  for (const source of ['usage', 'keystone'] as const) {
    describe(`read from ${source === 'usage' ? "Glance's /v2/info/usage" : 'Keystone'}`, () => {
      let tap: CountingTap;
      let gateway: Gateway;
      let owner: Owner;

      before(async () => {
        tap = await CountingTap.start(glanceWithLimitsOrigin);
        gateway = await Gateway.start({
          upstream: tap.origin,
          quota: '24MiB',
          serviceAccount: source === 'keystone',
          cloudLimits: { source, ttl: '0s' },
        });
      });
      after(async () => {
        await gateway.stop();
        await tap.stop();
      });
      beforeEach(async () => {
        owner = await newOwner();
      });

      /** Few images, since Glance asks Keystone for every limit at each of its steps. */
      async function assertExactly(limitBytes: number): Promise<void> {
        const { origin } = gateway;
        const imageId = await createImage(origin, owner);
        const into = { origin, owner, imageId };
        const over = { ...into, contentLength: limitBytes + 1 };
        assert.equal(problemCode(await put(over, limitBytes + 1)), 'quota-exceeded');
        assert.equal((await putNew(origin, owner, limitBytes - 2, 'chunked')).status, 204);
        assert.equal(problemCode(await put({ ...into, contentLength: 3 }, 3)), 'quota-exceeded');
        assert.equal((await putNew(origin, owner, 3, 'chunked')).code, 'quota-exceeded');
        assert.equal((await put({ ...into, contentLength: 2 }, 2)).status, 204);
        const last = await putNew(origin, owner, 1);
        assert.equal(last.code, 'quota-exceeded');
        assert.deepEqual(tap.seen('PUT', last.imageId), []);
      }

      it('that of the cloud, where it is the smaller one', async () => {
        await limitProject(owner.projectId, { image_size_total: 16 });
        await assertExactly(16 * MiB);
      });

      if (source === 'usage') {
        it('that of the file, where the registered default of the cloud is larger', async () => {
          await assertExactly(24 * MiB);
        });
      }

      it('0 means nothing', async () => {
        await limitProject(owner.projectId, { image_size_total: 0 });
        for (const framing of framings) {
          const { code, imageId } = await putNew(gateway.origin, owner, 1, framing);
          assert.equal(code, 'quota-exceeded');
          assert.deepEqual(tap.seen('PUT', imageId), []);
        }
      });

      it('so many uploads at once as image_count_uploading says', async () => {
        const { origin } = gateway;
        await limitProject(owner.projectId, { image_count_uploading: 2 });
        const running = [];
        for (let i = 0; i < 2; i += 1) {
          const imageId = await createImage(origin, owner);
          const upload = await Upload.begin({ origin, owner, imageId, contentLength: 2 });
          await upload.send(1);
          await eventually(async () => assert.ok(await gateway.upload(imageId), 'the upload is not listed'));
          running.push(upload);
        }
        const third = await putNew(origin, owner, 1);
        assert.deepEqual([third.status, third.code], [429, 'uploads-exceeded']);
        assert.deepEqual(tap.seen('PUT', third.imageId), []);
        for (const upload of running) {
          await upload.send(1);
          assert.equal((await upload.finish()).status, 204);
        }
        const { imageId } = third;
        assert.equal((await put({ origin, owner, imageId, contentLength: 1 }, 1)).status, 204);
      });
    });
  }
});
