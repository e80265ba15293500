import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { defaultConfig } from '../../src/config/load.ts';
import type { WrittenOptions } from '../../src/config/options.ts';
import { Entrance, type EntranceFailure } from '../../src/http/entrance.ts';
import { caOfTests, certified } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { LogLines } from '../support/log-lines.ts';
import { RawClient } from '../support/raw-client.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const ask = 'GET /v2/images HTTP/1.1\r\nHost: images\r\n\r\n';
const signature = '\r\n\r\n\0\r\nQUIT\n';

/** A header of version 2 from 192.0.2.7, with one addition. */
const v2 = `${signature}\x21\x11\0\x11\xc0\0\x02\x07\xc6\x33\x64\x02\x12\x34\x01\xbb\x04\0\x02xx`;
const v1 = 'PROXY TCP4 192.0.2.7 198.51.100.2 4660 443\r\n';

describe('a listener with proxy_protocol', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;
  let log: LogLines;

  const start = async (changes: WrittenOptions = {}): Promise<void> => {
    log = new LogLines();
    sluice = await TestGateway.start(
      upstream.port,
      {
        quota: { usage: { source: 'none' } },
        listen: [{ address: '127.0.0.1:0', proxy_protocol: true }],
        trusted_proxies: ['127.0.0.1'],
        ...changes,
      },
      log,
    );
  };
  const connected = (): Promise<RawClient> => RawClient.connect(sluice.ports[1] ?? 0);
  /** The status of the answer to what was sent, and the client closes. */
  const answered = async (...pieces: readonly string[]): Promise<number> => {
    const client = await connected();
    for (const piece of pieces) await client.write(Buffer.from(piece, 'latin1'));
    const { status } = await client.response();
    client.destroy();
    return status;
  };
  const uploaded = (header: string, ...fields: readonly string[]): Promise<number> =>
    answered(header, `${uploadHead(randomUUID(), 'Content-Length: 0', ...fields).join('\r\n')}\r\n\r\n`);
  const failed = (reason: string, count = 1): Promise<unknown> =>
    eventually(async () => {
      const series = `sluice_connections_failed_total{stage="proxy-header",reason="${reason}"}`;
      assert.equal(await sluice.metric(series), count);
    }, `${reason} is counted`);
  const noConnections = (): Promise<unknown> =>
    eventually(async () => assert.equal(await sluice.metric('sluice_connections'), 0), 'all is let go');

  beforeEach(async () => {
    upstream = await ScriptedUpstream.start(async (connection) => {
      await connection.bodyComplete();
      connection.answer('204 No Content\r\nConnection: close');
    });
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  for (const [version, header] of [
    ['1', v1],
    ['2', v2],
  ] as const) {
    it(`knows the client by a header of version ${version}, in one piece with the request`, async () => {
      await start();
      assert.equal(await answered(header + ask), 204);
      assert.equal(sluice.lines[0]?.client, '192.0.2.7');
      assert.equal(upstream.connections[0]?.header('x-forwarded-for'), '192.0.2.7');
      assert.equal(upstream.connections[0]?.header('forwarded'), 'for=192.0.2.7;proto=http');
      await noConnections();
    });

    it(`knows the client by a header of version ${version}, byte by byte`, async () => {
      await start();
      assert.equal(await answered(...(header + ask)), 204);
      assert.equal(sluice.lines[0]?.client, '192.0.2.7');
    });

    it(`knows the client of each request of the connection (version ${version})`, async () => {
      await start();
      const client = await connected();
      await client.write(Buffer.from(header + ask + ask, 'latin1'));
      await client.response();
      await client.response();
      await client.write(ask);
      await client.response();
      assert.deepEqual(
        sluice.lines.map((line) => line.client),
        ['192.0.2.7', '192.0.2.7', '192.0.2.7'],
      );
      client.destroy();
    });
  }

  it('takes one header, and what looks like a second for a broken request', async () => {
    await start();
    assert.equal(await answered(v1 + v1 + ask), 400);
    assert.equal(log.requests()[0]?.client, '192.0.2.7');
  });

  it('answers who has closed its side', async () => {
    await start();
    const client = await connected();
    await client.write(v1 + ask);
    client.end();
    assert.equal((await client.response()).status, 204);
    assert.equal(await client.closed, 'fin');
  });

  it('stores a body that begins in the same piece', async () => {
    await start({ identity: { source: 'none' } });
    assert.equal(
      await answered(
        `${v1}${uploadHead(randomUUID(), 'Content-Length: 10').join('\r\n')}\r\n\r\nhello`,
        'world',
      ),
      204,
    );
    assert.equal(upstream.connections[0]?.body.toString(), 'helloworld');
  });

  it('counts the requests of the address that the header names', async () => {
    await start({ rate_limits: [{ action: 'any', per: 'address', requests: 1, interval: '1h' }] });
    assert.equal(await answered(v1 + ask), 204);
    assert.equal(await answered(v2 + ask), 429);
    assert.equal(await answered(v1.replace('192.0.2.7', '192.0.2.8') + ask), 204);
  });

  describe('believes the identity headers of', () => {
    const loopback = 'PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n';
    for (const [whom, header, trustedFrom, status] of [
      ['no client by the balancer, though trusted_from has the balancer', v1, ['127.0.0.0/8', 'unix'], 401],
      ['a client that trusted_from has', v1, ['192.0.2.7'], 204],
      ['a process on this machine, by a balancer on this machine', loopback, ['127.0.0.0/8'], 204],
      ['nobody by PROXY UNKNOWN', 'PROXY UNKNOWN\r\n', ['127.0.0.0/8', 'unix', '0.0.0.0/0', '::/0'], 401],
      ['nobody by LOCAL', `${signature}\x20\0\0\0`, ['127.0.0.0/8', 'unix', '0.0.0.0/0', '::/0'], 401],
      [
        'nobody by the family of unix sockets',
        `${signature}\x21\x31\0\xd8${'\0'.repeat(216)}`,
        ['127.0.0.0/8', 'unix', '0.0.0.0/0', '::/0'],
        401,
      ],
    ] as const) {
      it(whom, async () => {
        await start({ identity: { headers: { trusted_from: [...trustedFrom] } } });
        assert.equal(await uploaded(header), status);
        assert.equal(upstream.connections.length, status === 204 ? 1 : 0);
      });
    }
  });

  for (const [trusted, header, client] of [
    [['127.0.0.1'], v1, '192.0.2.7'],
    [['127.0.0.1', '192.0.2.7'], v1, '203.0.113.9'],
    [['127.0.0.1', '0.0.0.0/0', '::/0', 'unix'], 'PROXY UNKNOWN\r\n', 'unknown'],
  ] as const) {
    it(`takes X-Forwarded-For of ${header.slice(6, 20).trim()} by trusted_proxies [${trusted}] for the client ${client}`, async () => {
      await start({ trusted_proxies: [...trusted] });
      await answered(header, ask.replace('\r\n\r\n', '\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n'));
      assert.equal(sluice.lines[0]?.client, client);
    });
  }

  describe('closes without a word', () => {
    for (const [what, reason, trusted, sent] of [
      ['a peer that is not trusted', 'untrusted', ['127.0.0.2', 'unix'], v1 + ask],
      ['a connection without the header', 'invalid', ['127.0.0.1'], ask],
      ['a connection with a broken header', 'invalid', ['127.0.0.1'], `PROXY TCP4 here there 1 2\r\n${ask}`],
    ] as const) {
      it(what, async () => {
        await start({ trusted_proxies: [...trusted] });
        const client = await connected();
        client.write(sent);
        await client.closed;
        assert.equal(client.unread.length, 0);
        await failed(reason);
        assert.equal(upstream.connections.length, 0);
        assert.deepEqual(
          log.said('connection failed').map((line) => [line.client, line.stage, line.reason]),
          [['127.0.0.1', 'proxy-header', reason]],
        );
        await noConnections();
      });
    }

    it('a connection whose header is not whole after client_header_timeout', async () => {
      await start({ client_header_timeout: '100ms' });
      const client = await connected();
      client.write('PROXY TCP4 ');
      await client.closed;
      await failed('timeout');
      await noConnections();
    });
  });

  it('counts a connection that closes before its header is whole', async () => {
    await start();
    const client = await connected();
    await client.write('PROXY ');
    client.end();
    await client.closed;
    await failed('client-gone');
    client.destroy();
    await noConnections();
  });

  for (const [what, sent] of [
    ['half a header', 'PROXY '],
    ['nothing but a header', v1],
  ] as const) {
    it(`closes a connection that has sent ${what} when a drain begins`, async () => {
      await start();
      const client = await connected();
      await client.write(sent);
      // what was sent before is read before
      assert.equal(await answered(v1 + ask), 204);
      await sluice.gateway.drain();
      assert.notEqual(await client.closed, 'local');
      client.destroy();
    });
  }

  it('counts a connection from its accept on: max_connections holds for those without a header', async () => {
    await start({ max_connections: 1 });
    const silent = await connected();
    await eventually(async () => assert.equal(await sluice.metric('sluice_connections'), 1));
    await (await connected()).closed;
    assert.equal(await sluice.metric('sluice_connections_dropped_total'), 1);
    silent.destroy();
    await noConnections();
    assert.equal(await answered(v1 + ask), 204);
  });

  it('goes by the trusted_proxies of a reload', async () => {
    await start();
    assert.equal(await answered(v1 + ask), 204);
    sluice.gateway.reload(
      defaultConfig({
        listen: [{ address: '127.0.0.1:0' }, { address: '127.0.0.1:0', proxy_protocol: true }],
        admin: { address: '127.0.0.1:0' },
        trusted_proxies: ['127.0.0.2'],
        upstream: { servers: [`http://127.0.0.1:${upstream.port}`], health: { interval: 0 } },
      }),
    );
    const client = await connected();
    client.write(v1 + ask);
    await client.closed;
    await failed('untrusted');
  });

  it('takes it over a unix socket where trusted_proxies has unix', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-proxy-'));
    try {
      const path = join(folder, 's');
      await start({ listen: [{ address: `unix:${path}`, proxy_protocol: true }], trusted_proxies: ['unix'] });
      const socket = connect(path);
      socket.write(v1 + ask);
      const [answer] = await once(socket, 'data');
      assert.match(String(answer), /^HTTP\/1\.1 204 /);
      assert.equal(sluice.lines[0]?.client, '192.0.2.7');
      socket.destroy();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  describe('with TLS', () => {
    beforeEach(() =>
      start({ listen: [{ address: '127.0.0.1:0', proxy_protocol: true, tls: certified('server') }] }),
    );

    it('takes the header before the handshake', async () => {
      const client = await sluice.secureClient({}, v1);
      await client.write(ask);
      assert.equal((await client.response()).status, 204);
      assert.equal(sluice.lines[0]?.client, '192.0.2.7');
      assert.equal(upstream.connections[0]?.header('forwarded'), 'for=192.0.2.7;proto=https');
      client.destroy();
      await noConnections();
    });

    for (const [how, pieceBytes] of [
      ['in one piece with the handshake', 1_000_000],
      ['in pieces of 7 bytes, as all that follows', 7],
    ] as const) {
      it(`takes the header ${how}`, async () => {
        const through = await carrier(sluice.ports[1] ?? 0, v1, pieceBytes);
        const client = connectTls({
          port: through.port,
          host: '127.0.0.1',
          ca: caOfTests,
          servername: 'localhost',
        });
        try {
          client.write(ask);
          const [answer] = await once(client, 'data');
          assert.match(String(answer), /^HTTP\/1\.1 204 /);
          assert.equal(sluice.lines[0]?.client, '192.0.2.7');
        } finally {
          client.destroy();
          through.stop();
        }
      });
    }

    it('names the client of the header when its handshake fails', async () => {
      const client = await connected();
      await client.write(`${v1}\x16\x03\x01\0\x05hello`);
      await client.closed;
      await eventually(() => log.said('connection failed').length === 1);
      const [line] = log.said('connection failed');
      assert.deepEqual([line?.client, line?.stage, line?.reason], ['192.0.2.7', 'tls', 'invalid']);
    });
  });
});

describe('an entrance', () => {
  it('takes who has reset the connection before it was accepted for gone, not for a stranger', () => {
    const failures: EntranceFailure[] = [];
    const unexpected = (): never => assert.fail('nothing arrives');
    const entrance = new Entrance(
      { tls: null, proxyProtocol: true, trustsProxy: () => false, timeMs: 0 },
      { arrived: unexpected, plainHttp: unexpected, failed: (failure) => failures.push(failure) },
    );
    const socket = new Socket();
    entrance.admit(socket, 'unknown');
    assert.deepEqual(
      failures.map(({ reason }) => reason),
      ['client-gone'],
    );
    assert.equal(socket.destroyed, true);
  });
});

/** Carries one connection to the port, with the header put before its first bytes, in pieces of a size. */
async function carrier(
  port: number,
  header: string,
  pieceBytes: number,
): Promise<{ port: number; stop(): void }> {
  const sockets: Socket[] = [];
  const server = createServer((client) => {
    const gateway = connect({ port, host: '127.0.0.1', noDelay: true });
    sockets.push(client, gateway);
    gateway.on('error', () => {});
    client.on('error', () => {});
    gateway.pipe(client);
    let before = Buffer.from(header);
    let last = Promise.resolve();
    client.on('data', (bytes) => {
      const all = Buffer.concat([before, bytes]);
      before = Buffer.alloc(0);
      for (let at = 0; at < all.length; at += pieceBytes) {
        const piece = all.subarray(at, at + pieceBytes);
        last = last.then(() => new Promise((resolve) => gateway.write(piece, () => setImmediate(resolve))));
      }
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening');
  return {
    port: address.port,
    stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
