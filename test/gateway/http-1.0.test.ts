import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TestGateway } from '../support/test-gateway.ts';

describe('a request by HTTP/1.0 that names no host', () => {
  it('goes upstream with the host of the upstream', async () => {
    const upstream = await ScriptedUpstream.start((connection) => connection.answer('204 No Content'));
    const sluice = await TestGateway.start(upstream.port, { quota: { usage: { source: 'none' } } });
    try {
      for (const target of [`/v2/images/${randomUUID()}/file`, '/v2/images']) {
        const client = await sluice.client();
        await client.request(
          `PUT ${target} HTTP/1.0`,
          'X-User-Id: ann',
          'X-Project-Id: blue',
          'Content-Length: 0',
        );
        assert.equal((await client.response()).status, 204);
        const connection = upstream.connections.pop();
        assert.equal(connection?.header('host'), `127.0.0.1:${upstream.port}`);
        assert.equal(connection?.head.split('\r\n')[0], `PUT ${target} HTTP/1.1`);
      }
    } finally {
      await sluice.stop();
      await upstream.stop();
    }
  });
});
