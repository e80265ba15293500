import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { Gateway } from './support/gateway.ts';
import { createImage } from './support/image.ts';
import { newOwner } from './support/owner.ts';
import { MiB, problemCode, put, Upload } from './support/upload.ts';

const quotaBytes = 8 * MiB;

describe('identity from the headers of a trusted proxy, before a Glance that wants tokens', () => {
  it('the project of the headers pays, to the byte', async () => {
    const gateway = await Gateway.start({ identity: 'headers', quota: `${quotaBytes}B` });
    try {
      const { origin } = gateway;
      const owner = await newOwner();
      const headers = { 'X-User-Id': owner.userId, 'X-Project-Id': owner.projectId };
      const imageId = await createImage(origin, owner);
      const request = { origin, owner, imageId, headers };
      const over = await put({ ...request, contentLength: quotaBytes + 1 }, quotaBytes + 1);
      assert.equal(problemCode(over), 'quota-exceeded');
      const upload = await Upload.begin({ ...request, contentLength: quotaBytes });
      await upload.send(1);
      const listed = await eventually(() => gateway.upload(imageId));
      assert.deepEqual(listed.owner, { user: owner.userId, project: owner.projectId });
      await upload.send(quotaBytes - 1);
      assert.equal((await upload.finish()).status, 204);
    } finally {
      await gateway.stop();
    }
  });

  it('without the headers nobody uploads', async () => {
    const gateway = await Gateway.start({ identity: 'headers', quota: `${quotaBytes}B` });
    try {
      const owner = await newOwner();
      const imageId = await createImage(gateway.origin, owner);
      const answer = await put({ origin: gateway.origin, owner, imageId, contentLength: 1 }, 1);
      assert.equal(answer.status, 401);
      assert.equal(problemCode(answer), 'identity-missing');
    } finally {
      await gateway.stop();
    }
  });
});
