import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { CountingTap } from './support/counting-tap.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, statusInGlance } from './support/image.ts';
import { newOwner } from './support/owner.ts';
import { Service } from './support/service.ts';
import { glanceOrigin } from './support/stack.ts';
import { MiB, problemCode, put, putNew, Upload } from './support/upload.ts';

const keystone = new Service('keystone');

describe('while Keystone does not answer', () => {
  it('who is known goes on, and who is not is told to come again', async () => {
    const tap = await CountingTap.start(glanceOrigin);
    const gateway = await Gateway.start({
      upstream: tap.origin,
      quota: '64MiB',
      keystone: { timeout: '1s' },
    });
    try {
      const { origin } = gateway;
      const known = await newOwner();
      const unknown = await newOwner();
      assert.equal((await putNew(origin, known, 1)).status, 204);
      const running = await createImage(glanceOrigin, known);
      const next = await createImage(glanceOrigin, known);
      const refused = await createImage(glanceOrigin, unknown);
      const upload = await Upload.begin({ origin, owner: known, imageId: running, contentLength: 8 * MiB });
      await upload.send(4 * MiB);

      await keystone.signal('SIGSTOP');
      try {
        const answer = await put({ origin, owner: unknown, imageId: refused, contentLength: MiB }, MiB);
        assert.equal(answer.status, 503);
        assert.equal(problemCode(answer), 'identity-unavailable');
        assert.match(answer.headers.get('retry-after')?.join() ?? '', /^\d+$/);
        assert.deepEqual(tap.seen('PUT', refused), []);

        await upload.send(4 * MiB);
        assert.equal((await upload.finish()).status, 204);
        assert.equal(
          (await put({ origin, owner: known, imageId: next, contentLength: MiB }, MiB)).status,
          204,
        );
      } finally {
        await keystone.signal('SIGCONT');
      }

      await eventually(async () => {
        const answer = await put({ origin, owner: unknown, imageId: refused, contentLength: MiB }, MiB);
        assert.equal(answer.status, 204);
      });
      for (const imageId of [running, next]) assert.equal(await statusInGlance(known, imageId), 'active');
    } finally {
      await gateway.stop();
      await tap.stop();
    }
  });
});
