import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Server } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Stage, startStage } from '../support/running-gateway.ts';

// `npm run test:slow-upload` is the same in full: 20 minutes at 100 KB/s, with nothing scaled down.

const portOf = (server: Server): number => {
  const address = server.address();
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
};

describe('a slow upload', () => {
  let stage: Stage;
  afterEach(() => stage.stop());

  for (const framing of ['known', 'unknown'] as const) {
    it(`lives for many times as long as every time that is set (${framing} length)`, async () => {
      // every time that has a default is a hundredth of it, or less
      stage = await startStage({
        client_header_timeout: '600ms',
        client_socket_timeout: '9s',
        client_min_rate: { bytes: 10, per: '1s', grace: '100ms' },
        upload: { chunk_timeout: '100ms', flush_after: '10ms', watch_interval: '150ms' },
      });
      const { gateway } = stage;
      const image = await gateway.create();
      const pieces = 100;
      const piece = Buffer.alloc(10, 'x');
      const field =
        framing === 'known' ? `Content-Length: ${pieces * piece.length}` : 'Transfer-Encoding: chunked';
      const client = await gateway.uploading(image, [field]);
      for (let i = 0; i < pieces; i += 1) {
        await sleep(25);
        await (framing === 'known' ? client.write(piece) : client.chunk(piece));
      }
      if (framing === 'unknown') await client.chunk('');
      assert.equal((await client.response()).status, 204);
      assert.equal((await gateway.image(image)).size, pieces * piece.length);
    });
  }

  it('is ended by none of the times that Node has by itself', async () => {
    stage = await startStage();
    const { gateway } = stage;
    const servers = new Set<Server>();
    // the embedded API is a server of this process too
    const seen = (message: unknown): void => {
      if (typeof message !== 'object' || message === null || !('server' in message)) return;
      if (message.server instanceof Server && portOf(message.server) === gateway.port)
        servers.add(message.server);
    };
    subscribe('http.server.request.start', seen);
    try {
      const client = await gateway.client();
      await client.request('GET /healthcheck HTTP/1.1', 'Host: x');
      await client.response();
    } finally {
      unsubscribe('http.server.request.start', seen);
    }
    const [server] = servers;
    assert.equal(server?.requestTimeout, 0);
    assert.equal(server?.headersTimeout, 60_000);
    assert.equal(server?.timeout, 900_000);
  });
});
