import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { GatewayError } from '../../src/core/errors.ts';
import type { Client } from '../../src/http/client.ts';
import { openBody } from '../../src/http/client-body.ts';
import { RawClient } from '../support/raw-client.ts';

const clientSocketTimeoutMs = 60_000;

describe('the body of a client', () => {
  let server: Server;
  let sender: RawClient;

  /** A request with one of its ten bytes, as a listener hands it on. */
  const halfRequest = async (): Promise<Client> => {
    server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const arrived = new Promise<Client>((resolve) => {
      server.on('request', (request, response) => {
        request.on('error', () => {});
        resolve({
          request,
          response,
          socket: request.socket,
          wire: request.socket,
          headers: request.rawHeaders,
          requestId: 'req-1',
          peerAddress: '127.0.0.1',
          expectsContinue: false,
          options: { httpKeepalive: true, clientSocketTimeoutMs, lingering: { timeMs: 0, bytes: 0 } },
          answerFields: [],
          onBroken: null,
          broken: false,
        });
      });
    });
    const { port } = server.address() as AddressInfo;
    sender = await RawClient.connect(port);
    await sender.request('POST / HTTP/1.1', 'Host: x', 'Content-Length: 10');
    await sender.write('x');
    return arrived;
  };
  const framing = { kind: 'length', bytes: 10 } as const;
  const isGone = (error: unknown): boolean => error instanceof GatewayError && error.code === 'client-gone';

  afterEach(async () => {
    sender.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  it('fails when somebody closes the connection, whoever it was', async () => {
    const client = await halfRequest();
    const whole = openBody(client, framing, 0)?.whole();
    client.socket.destroy();
    await assert.rejects(whole ?? Promise.resolve(), isGone);
  });

  it('fails where the connection was closed before anybody asked for it', async () => {
    const client = await halfRequest();
    client.socket.destroy();
    await new Promise((resolve) => client.request.once('close', resolve));
    await assert.rejects(openBody(client, framing, 0)?.whole() ?? Promise.resolve(), isGone);
  });

  it('gives the client its whole time when it is read from again', async () => {
    const client = await halfRequest();
    const body = openBody(client, framing, 0);
    assert.equal(client.socket.timeout ?? 0, 0, 'nobody has set a time yet');
    const whole = body?.whole();
    await sender.write('123456789');
    await whole;
    assert.equal(client.socket.timeout, clientSocketTimeoutMs);
  });

  it('leaves nothing behind on the request, whole or not', async () => {
    const events = ['data', 'end', 'close', 'timeout'] as const;
    const listeners = ({ request }: Client): number[] => events.map((event) => request.listenerCount(event));
    const cut = await halfRequest();
    const before = listeners(cut);
    openBody(cut, framing, 0)?.destroy();
    assert.deepEqual(listeners(cut), before);
    assert.equal(cut.onBroken, null);
    assert.equal(cut.socket.destroyed, false);
    const whole = openBody(cut, framing, 0)?.whole();
    await sender.write('123456789');
    assert.equal((await whole)?.toString(), 'x123456789');
    assert.deepEqual(listeners(cut), before);
    assert.equal(cut.onBroken, null);
  });
});
