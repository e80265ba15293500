import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { eventually } from '../support/eventually.ts';
import type { RawClient } from '../support/raw-client.ts';
import {
  ann,
  codeOf,
  type Stage,
  startStage,
  uploadHead as uploadHeadOf,
} from '../support/running-gateway.ts';
import { ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const eve = { 'X-User-Id': 'eve', 'X-Project-Id': 'red' };

describe('the delete of an image', () => {
  let stage: Stage;
  beforeEach(async () => {
    stage = await startStage();
  });
  afterEach(() => stage.stop());

  const halfSent = async (image: string, data: 'file' | 'stage'): Promise<RawClient> => {
    const client = await stage.gateway.client();
    await client.request(
      ...uploadHeadOf(image, ['Content-Length: 1000'], ann, `/v2/images/${image}/${data}`),
    );
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

describe('the delete of an image whose deleter does not wait', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;
  let uploader: RawClient;
  let deleter: RawClient;
  let image: string;
  /** The DELETE as the API has it. */
  let asked: Promise<UpstreamConnection>;
  /** What a look at the image is answered. */
  let state: string;

  beforeEach(async () => {
    state = '404 Not Found';
    image = randomUUID();
    let arrived = (_: UpstreamConnection): void => {};
    asked = new Promise((resolve) => {
      arrived = resolve;
    });
    upstream = await ScriptedUpstream.start((connection) => {
      if (connection.head.startsWith('DELETE')) arrived(connection);
      // to the deleter the image is hidden; only who uploads sees whether it is there
      else if (connection.head.startsWith('GET')) {
        connection.answer(
          `${connection.header('x-user-id') === 'ann' ? state : '404 Not Found'}\r\nConnection: close`,
          '{"status":"saving"}',
        );
      }
    });
    sluice = await TestGateway.start(upstream.port, {
      quota: { usage: { source: 'none' } },
      upload: { watch_interval: 0 },
    });
    uploader = await sluice.client();
    await uploader.request(...uploadHead(image, 'Content-Length: 1000'));
    await uploader.write('x');
    await eventually(() => upstream.connections.some(({ bodyBytes }) => bodyBytes === 1), 'the upload runs');
    deleter = await sluice.client();
    await deleter.request(`DELETE /v2/images/${image} HTTP/1.1`, 'Host: x', 'X-User-Id: eve');
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  const uploaderIsTold = async (): Promise<void> => {
    const answer = await uploader.response();
    assert.deepEqual([answer.status, codeOf(answer.body)], [410, 'image-deleted']);
  };
  const uploadStands = async (): Promise<void> => {
    await eventually(() => assert.equal(sluice.lines.length, 1), 'the delete is over');
    assert.equal(sluice.gateway.uploadsUnderWay, 1);
  };

  it('and closes at once: the API is asked to the end, and its 204 ends the upload with 410', async () => {
    state = '200 OK';
    const connection = await asked;
    deleter.destroy();
    // the close is seen by the time that another request was served
    await sluice.metric('sluice_connections');
    connection.answer('204 No Content');
    await uploaderIsTold();
  });

  it('and resets at once: the API is asked to the end, and its 204 ends the upload with 410', async () => {
    state = '200 OK';
    const connection = await asked;
    deleter.reset();
    await eventually(async () => assert.equal(await sluice.metric('sluice_connections'), 1));
    connection.answer('204 No Content');
    await uploaderIsTold();
    await eventually(() => assert.equal(sluice.lines.length, 2));
    const line = sluice.lines.find(({ method }) => method === 'DELETE');
    assert.deepEqual([line?.status, line?.error], [499, 'client-gone']);
  });

  it('and that is refused leaves the upload alone', async () => {
    const connection = await asked;
    deleter.reset();
    connection.answer('403 Forbidden');
    await uploadStands();
  });

  it('and whose answer is lost: the image is looked up, and is gone', async () => {
    const connection = await asked;
    deleter.reset();
    connection.reset();
    await uploaderIsTold();
  });

  it('and whose answer is lost: the image is looked up, and is there', async () => {
    state = '200 OK';
    const connection = await asked;
    connection.reset();
    assert.equal((await deleter.response()).status, 502);
    await uploadStands();
  });
});
