import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { eventually } from '../support/eventually.ts';
import { codeOf, type RunningGateway, startGateway, startStage } from '../support/running-gateway.ts';

describe('a gateway whose upstream leads back to it', () => {
  /** Hands every connection on: what the gateway cannot see before it runs. */
  let relay: Server;
  let sockets: Socket[];
  let gateway: RunningGateway;

  beforeEach(async () => {
    sockets = [];
    relay = createServer((socket) => {
      const onward = connect(gateway.port, '127.0.0.1');
      sockets.push(socket, onward);
      for (const each of [socket, onward]) each.on('error', () => {});
      socket.pipe(onward).pipe(socket);
    }).listen(0, '127.0.0.1');
    await once(relay, 'listening');
    const address = relay.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    gateway = await startGateway({
      upstream: { servers: [`http://127.0.0.1:${address.port}`], health: { interval: 0 } },
      quota: { usage: { source: 'none' } },
      // an upload that went round in the circle has an API that fails whatever it is asked
      upload: { unknown_hold: '200ms' },
      // where nothing cuts the circle, this does
      max_connections: 20,
    });
  });
  afterEach(async () => {
    await gateway.stop();
    for (const socket of sockets) socket.destroy();
    relay.close();
    await once(relay, 'close');
  });

  it('passes a request on once, and answers 508', async () => {
    const response = await fetch(`${gateway.url}/v2/images`);
    assert.equal(response.status, 508);
    assert.equal(codeOf(Buffer.from(await response.arrayBuffer())), 'loop-detected');
    assert.equal(sockets.length, 2, 'one connection, and where it leads');
  });

  it('ends an upload with 508, and gives its bytes back', async () => {
    const client = await gateway.uploading(randomUUID(), ['Content-Length: 3']);
    await client.write('abc');
    const { status, body } = await client.response();
    assert.equal(status, 508);
    assert.equal(codeOf(body), 'loop-detected');
    assert.equal(sockets.length, 2, 'one connection, and where it leads');
    await eventually(() => gateway.gateway.savingBytes === 0);
  });
});

describe('a gateway behind other proxies', () => {
  it('adds itself to Via behind them, and serves', async () => {
    const stage = await startStage();
    try {
      const client = await stage.gateway.client();
      await client.request(
        'GET /v2/images HTTP/1.1',
        'Host: x',
        'X-User-Id: ann',
        'X-Project-Id: blue',
        'Via: 1.1 front',
      );
      assert.equal((await client.response()).status, 200);
      const { headers } = stage.api.requests().at(-1) ?? assert.fail('the API was asked');
      const via = headers.filter((_, i) => i % 2 === 1 && headers[i - 1]?.toLowerCase() === 'via');
      assert.match(via.join(', '), /^1\.1 front, 1\.1 sluice-[0-9a-f]{16}$/);
    } finally {
      await stage.stop();
    }
  });
});
