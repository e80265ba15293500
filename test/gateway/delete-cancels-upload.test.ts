import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import type { RawClient } from '../support/raw-client.ts';
import { ann, codeOf, type Stage, startStage, uploadHead } from '../support/running-gateway.ts';

const eve = { 'X-User-Id': 'eve', 'X-Project-Id': 'red' };

describe('the delete of an image', () => {
  let stage: Stage;
  beforeEach(async () => {
    stage = await startStage();
  });
  afterEach(() => stage.stop());

  const halfSent = async (image: string, data: 'file' | 'stage'): Promise<RawClient> => {
    const client = await stage.gateway.client();
    await client.request(...uploadHead(image, ['Content-Length: 1000'], ann, `/v2/images/${image}/${data}`));
    await client.write(Buffer.alloc(500));
    await eventually(() => stage.api.uploadsUnderWay() === 1, 'the upload reaches the API');
    return client;
  };

  for (const data of ['file', 'stage'] as const) {
    it(`ends its upload to ${data}: 410 at once, and the 204 comes when the bytes are back`, async () => {
      const { gateway, api } = stage;
      const image = await gateway.create();
      const uploader = await halfSent(image, data);
      assert.equal(gateway.gateway.savingBytes, 1000);
      const deleter = await gateway.client();
      await deleter.request(
        `DELETE /v2/images/${image} HTTP/1.1`,
        'Host: x',
        'X-User-Id: ann',
        'X-Project-Id: blue',
      );
      assert.equal((await deleter.response()).status, 204);
      assert.equal(gateway.gateway.savingBytes, 0);
      assert.equal(gateway.gateway.uploadsUnderWay, 0);
      const answer = await uploader.response();
      assert.equal(answer.status, 410);
      assert.deepEqual(answer.headers.get('content-type'), ['application/problem+json']);
      assert.deepEqual(answer.headers.get('connection'), ['close']);
      assert.equal(codeOf(answer.body), 'image-deleted');
      await eventually(() => api.uploadsUnderWay() === 0, 'the API is let go of');
      await eventually(() => api.storedBytes() === 0, 'nothing is left behind');
    });

    it(`by the name of another version ends its upload to ${data} too`, async () => {
      const { gateway } = stage;
      const image = await gateway.create();
      const uploader = await halfSent(image, data);
      const response = await fetch(`${gateway.url}/v2.7/images/${image}`, { method: 'DELETE', headers: ann });
      assert.equal(response.status, 204);
      assert.equal((await uploader.response()).status, 410);
    });
  }

  it('leaves the uploads of other images alone', async () => {
    const { gateway } = stage;
    const uploader = await halfSent(await gateway.create(), 'file');
    assert.equal(await gateway.delete(await gateway.create()), 204);
    await uploader.write(Buffer.alloc(500));
    assert.equal((await uploader.response()).status, 204);
  });

  for (const [status, document, who] of [
    [403, { protected: true }, ann],
    [404, {}, eve],
  ] as const) {
    for (const data of ['file', 'stage'] as const) {
      it(`that the API answers with ${status} leaves the upload to ${data} alone`, async () => {
        const { gateway } = stage;
        const image = await gateway.create(ann, document);
        const uploader = await halfSent(image, data);
        assert.equal(await gateway.delete(image, who), status);
        assert.equal(gateway.gateway.savingBytes, 1000);
        await uploader.write(Buffer.alloc(500));
        assert.equal((await uploader.response()).status, 204);
      });
    }
  }

  it('is not needed for an operator to end an upload: 409 cancelled', async () => {
    const { gateway, api } = stage;
    const uploader = await halfSent(await gateway.create(), 'file');
    const [upload] = (await gateway.uploads()).uploads;
    const response = await fetch(`${gateway.adminUrl}/uploads/${upload?.id}`, { method: 'DELETE' });
    assert.equal(response.status, 204);
    assert.equal(gateway.gateway.savingBytes, 0);
    const answer = await uploader.response();
    assert.equal(answer.status, 409);
    assert.equal(codeOf(answer.body), 'cancelled');
    await eventually(() => api.uploadsUnderWay() === 0, 'the API is let go of');
    const again = await fetch(`${gateway.adminUrl}/uploads/${upload?.id}`, { method: 'DELETE' });
    assert.equal(again.status, 404);
  });
});
