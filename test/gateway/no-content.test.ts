import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const image = randomUUID();
const requests: readonly (readonly [string, readonly string[]])[] = [
  ['an upload', uploadHead(image, 'Content-Length: 0')],
  ['a DELETE', [`DELETE /v2/images/${image} HTTP/1.1`, 'Host: images']],
];

// RFC 9110 §8.6 forbids it; Glance under eventlet sends `Content-Length: 0` with each 204
describe('a 204 of the upstream that has a Content-Length', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;

  before(async () => {
    upstream = await ScriptedUpstream.start(async (connection) => {
      await connection.bodyComplete();
      // a script answers once for each connection
      connection.write('HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
      connection.end();
    });
    sluice = await TestGateway.start(upstream.port, { quota: { usage: { source: 'none' } } });
  });

  after(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  for (const [what, head] of requests) {
    it(`is told without it: to ${what}, on a connection that lives on`, async () => {
      const client = await sluice.client();
      for (const _ of ['first', 'second']) {
        await client.request(...head);
        const answer = await client.response();
        assert.equal(answer.status, 204);
        assert.equal(answer.headers.get('content-length'), undefined);
        assert.equal(answer.headers.get('transfer-encoding'), undefined);
      }
    });
  }
});
