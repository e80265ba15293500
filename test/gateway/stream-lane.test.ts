import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { Socket } from 'node:net';
import { Bound } from '../../src/core/bound.ts';
import { GatewayError } from '../../src/core/errors.ts';
import { MiB } from '../../src/core/units.ts';
import { StreamLane } from '../../src/lanes/stream.ts';
import { RawClient } from '../support/raw-client.ts';

/** An upstream whose kernel takes not one byte more. */
class CloggedSocket extends Socket {
  override _write(): void {}
  override _writev(): void {}
}

/** The last bytes of a body: far too few for Node to say that the socket is full. */
const tail = 'the end';

describe('a body whose last bytes the upstream does not take', () => {
  let server: Server;
  let client: RawClient;
  let upstream: CloggedSocket;

  beforeEach(async () => {
    server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    client = await RawClient.connect(typeof address === 'object' ? (address?.port ?? 0) : 0);
    upstream = new CloggedSocket();
  });
  afterEach(() => {
    upstream.destroy();
    client.destroy();
    server.closeAllConnections();
    server.close();
  });

  for (const framing of ['Content-Length', 'chunked'] as const) {
    for (const leaves of [false, true]) {
      it(`is given up after chunk_timeout (${framing}${leaves ? ', the client has left since' : ''})`, async () => {
        const arrived = once(server, 'request');
        const field = framing === 'chunked' ? 'Transfer-Encoding: chunked' : `Content-Length: ${tail.length}`;
        await client.request('PUT / HTTP/1.1', 'Host: images', field);
        const request: IncomingMessage = (await arrived)[0];
        const carried = new StreamLane().carry({
          client: request,
          upstream,
          declaredBytes: framing === 'chunked' ? null : tail.length,
          endFollows: framing === 'chunked',
          maxBytes: 0,
          frameBytes: MiB,
          chunkBytes: MiB,
          flushAfterMs: 1_000,
          chunkTimeoutMs: 100,
          clientSocketTimeoutMs: 0,
          leastRate: null,
          timeLimit: { baseMs: 0, perGibMs: 0 },
          progress: { receivedBytes: 0, sentBytes: 0, endSent: false },
          allowedBytes: MiB,
          allowMore: async () => MiB,
          buffered: new Bound(0),
          signal: new AbortController().signal,
          interrupted: new Promise(() => {}),
        });
        const ended = leaves ? once(request, 'end') : null;
        if (framing === 'chunked') {
          await client.chunk(tail);
          await client.chunk('');
        } else await client.write(tail);
        await ended;
        if (leaves) client.reset();
        await assert.rejects(
          carried,
          (error) => error instanceof GatewayError && error.code === 'upstream-stalled',
        );
      });
    }
  }
});
