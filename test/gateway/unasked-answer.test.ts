import assert from 'node:assert/strict';
import { ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway } from '../support/test-gateway.ts';

describe('what the API sends unasked on a connection that waits for use', () => {
  it('is no answer to a request that came in just before it', async () => {
    const upstream = await ScriptedUpstream.start((connection: UpstreamConnection) =>
      connection.answer('200 OK', `answer ${upstream.connections.length}`),
    );
    const gateway = await TestGateway.start(upstream.port);
    try {
      const first = await gateway.client();
      const second = await gateway.client();
      await first.request('GET /v2/other HTTP/1.1', 'Host: images');
      assert.equal((await first.response()).body.toString(), 'answer 1');
      // both are with the kernel before the gateway, in this process, looks for either
      void second.request('GET /v2/other HTTP/1.1', 'Host: images');
      upstream.connections[0]?.answer('200 OK', 'forged');
      assert.equal((await second.response()).body.toString(), 'answer 2');
    } finally {
      await gateway.stop();
      await upstream.stop();
    }
  });
});
