import assert from 'node:assert/strict';
import { type Stage, startStage, uploadHead } from '../support/running-gateway.ts';

const list = ['GET /v2/images HTTP/1.1', 'Host: x', 'X-User-Id: ann', 'X-Project-Id: blue'];

describe('http_keepalive', () => {
  let stage: Stage;
  afterEach(() => stage.stop());

  it('on: serves two requests and two uploads over one connection', async () => {
    stage = await startStage();
    const { gateway } = stage;
    const images = [await gateway.create(), await gateway.create()];
    const client = await gateway.client();
    for (const image of images) {
      await client.request(...list);
      assert.equal((await client.response()).status, 200);
      await client.request(...uploadHead(image, ['Content-Length: 5']));
      await client.write('hello');
      const stored = await client.response();
      assert.equal(stored.status, 204);
      assert.equal(stored.headers.get('connection')?.includes('close') ?? false, false);
    }
    for (const image of images) assert.equal((await gateway.image(image)).size, 5);
  });

  it('off: a request is answered with Connection: close, and the socket closes', async () => {
    stage = await startStage({ http_keepalive: false });
    const client = await stage.gateway.client();
    await client.request(...list);
    const answer = await client.response();
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.headers.get('connection'), ['close']);
    assert.equal(await client.closed, 'fin');
  });

  it('off: so is an upload', async () => {
    stage = await startStage({ http_keepalive: false });
    const client = await stage.gateway.uploading(await stage.gateway.create(), ['Content-Length: 5']);
    await client.write('hello');
    const answer = await client.response();
    assert.equal(answer.status, 204);
    assert.deepEqual(answer.headers.get('connection'), ['close']);
    assert.equal(await client.closed, 'fin');
  });

  it('off: so is a refusal, with its body and before it', async () => {
    stage = await startStage({ http_keepalive: false, upload: { max_size: 4 } });
    const image = await stage.gateway.create();
    for (const fields of [['Content-Length: 5'], ['Content-Length: 5', 'Expect: 100-continue']]) {
      const client = await stage.gateway.uploading(image, fields);
      const answer = await client.response();
      assert.equal(answer.status, 413);
      assert.deepEqual(answer.headers.get('connection'), ['close']);
      assert.equal(await client.closed, 'fin');
    }
    const whole = await stage.gateway.client();
    await whole.write(`${uploadHead(image, ['Content-Length: 5']).join('\r\n')}\r\n\r\nhello`);
    const answer = await whole.response();
    assert.equal(answer.status, 413);
    assert.deepEqual(answer.headers.get('connection'), ['close']);
    assert.equal(await whole.closed, 'fin');
  });
});
