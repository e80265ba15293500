import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { eventually } from '../support/eventually.ts';
import { ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

describe('a client whose upload is not admitted yet', () => {
  it('may be silent for longer than client_socket_timeout: it is not the one who is slow', async () => {
    const list = 'GET /v2/images?';
    const answer = (connection: UpstreamConnection): void => {
      if (connection.head.startsWith('PUT')) {
        void connection.bodyComplete().then(() => connection.answer('204 No Content'));
      } else if (connection.head.startsWith(list)) {
        connection.answer('200 OK\r\nConnection: close', '{"images":[]}');
      } else {
        connection.answer('200 OK\r\nConnection: close', '{"status":"queued","owner":"blue"}');
      }
    };
    const upstream = await ScriptedUpstream.start((connection) => {
      // what is stored is not told until the script is changed
      if (!connection.head.startsWith(list)) answer(connection);
    });
    const sluice = await TestGateway.start(upstream.port, {
      client_socket_timeout: '200ms',
      quota: { limits: [{ per: 'project', total: '1MiB' }] },
    });
    try {
      const waiting = await sluice.client();
      await waiting.request(...uploadHead(randomUUID(), 'Content-Length: 3', 'Expect: 100-continue'));
      const reading = (): UpstreamConnection | null =>
        upstream.connections.find(({ head }) => head.startsWith(list)) ?? null;
      const asked = await eventually(reading, 'the API is asked what is stored');
      // as long as two idle connections live, one after the other
      for (let i = 0; i < 2; i += 1) assert.notEqual(await (await sluice.client()).closed, 'local');
      upstream.script = answer;
      answer(asked);
      await waiting.receive(1);
      await waiting.write('abc');
      const { status, informational } = await waiting.response();
      assert.deepEqual([status, informational], [204, [100]]);
    } finally {
      await sluice.stop();
      await upstream.stop();
    }
  });
});
