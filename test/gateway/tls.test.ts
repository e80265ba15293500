import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import type { WrittenOptions } from '../../src/config/options.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import { caOfTests, certificateFile, certified, identityOf } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { LogLines } from '../support/log-lines.ts';
import type { RawClient } from '../support/raw-client.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

type WrittenTls = NonNullable<NonNullable<WrittenOptions['listen']>[number]['tls']>;

describe('a listener with TLS', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;
  let log: LogLines;
  let sockets: Socket[];

  const start = async (tls: Partial<WrittenTls> = {}, changes: WrittenOptions = {}): Promise<void> => {
    log = new LogLines();
    sluice = await TestGateway.start(
      upstream.port,
      {
        quota: { usage: { source: 'none' } },
        listen: [{ address: '127.0.0.1:0', tls: { ...certified('server'), ...tls } }],
        ...changes,
      },
      log,
    );
  };
  /** A connection without a handshake. */
  const bare = async (): Promise<Socket> => {
    const socket = connect(sluice.ports.at(-1) ?? 0, '127.0.0.1');
    socket.on('error', () => {});
    sockets.push(socket);
    await once(socket, 'connect');
    return socket;
  };
  const failures = (reason: string): Promise<number> =>
    sluice.metric(`sluice_connections_failed_total{stage="tls",reason="${reason}"}`);
  const failed = (reason: string, count = 1): Promise<unknown> =>
    eventually(async () => assert.equal(await failures(reason), count), `${reason} is counted`);
  const noConnections = (): Promise<unknown> =>
    eventually(async () => assert.equal(await sluice.metric('sluice_connections'), 0), 'all is let go');
  /** Why the handshake failed, or how the connection ended after it: a client learns of TLS 1.3 only then. */
  const refusal = async (options: ConnectionOptions): Promise<string> => {
    const client = await sluice.secureClient(options).catch((error: unknown) => String(error));
    return typeof client === 'string' ? client : `closed: ${await client.closed}`;
  };
  const upload = async (client: RawClient): Promise<number> => {
    await client.request(...uploadHead(randomUUID(), 'Content-Length: 5'));
    await client.write('hello');
    return (await client.response()).status;
  };

  beforeEach(async () => {
    sockets = [];
    upstream = await ScriptedUpstream.start(async (connection) => {
      await connection.bodyComplete();
      connection.answer('204 No Content');
    });
  });
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    await sluice.stop();
    await upstream.stop();
  });

  it('takes uploads, and tells the API of https', async () => {
    await start();
    const client = await sluice.secureClient();
    assert.equal(await upload(client), 204);
    assert.equal(await upload(client), 204);
    const [first] = upstream.connections;
    assert.equal(first?.body.toString(), 'hello');
    assert.equal(first?.header('x-forwarded-proto'), 'https');
    assert.equal(first?.header('forwarded'), 'for=127.0.0.1;proto=https');
    assert.equal(sluice.lines[0]?.client, '127.0.0.1');
    client.destroy();
    await noConnections();
  });

  describe('shows the certificate', () => {
    for (const [name, shown] of [
      ['', 'server'],
      ['localhost', 'server'],
      ['images.example.org', 'images'],
      ['IMAGES.Example.ORG', 'images'],
      ['other.example.org', 'wildcard'],
      ['a.b.example.org', 'server'],
      ['example.net', 'wildcard'],
      ['images.example.com', 'nameless'],
      ['nobody.example.com', 'server'],
    ] as const) {
      it(`${shown} to who asks for ${name === '' ? 'no name' : name}`, async () => {
        const nameless = { ...certified('nameless'), names: ['images.example.com'] };
        await start({ certificates: [certified('wildcard'), certified('images'), nameless] });
        const client = await sluice.secureClient({ servername: name, checkServerIdentity: () => undefined });
        assert.equal(client.tls?.getPeerCertificate().subject.CN, shown);
      });
    }
  });

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    describe(`with client certificates over ${version}`, () => {
      const spoken = { minVersion: version, maxVersion: version };
      beforeEach(() =>
        start({ client_ca: certificateFile('authority.pem'), certificates: [certified('images')] }),
      );

      for (const servername of ['localhost', 'images.example.org']) {
        it(`serves who has one of the authority, by the name ${servername}`, async () => {
          const client = await sluice.secureClient({ ...spoken, ...identityOf('ann'), servername });
          assert.equal(await upload(client), 204);
        });

        it(`refuses who has one of another authority, by the name ${servername}`, async () => {
          assert.notEqual(await refusal({ ...spoken, ...identityOf('mallory'), servername }), '');
          await failed('client-certificate');
          assert.match(
            String(log.said('connection failed')[0]?.detail),
            /UNABLE_TO_VERIFY|SELF_SIGNED|ISSUER/,
          );
        });
      }

      it('refuses who has none', async () => {
        assert.notEqual(await refusal(spoken), '');
        await failed('client-certificate');
        assert.deepEqual(
          log.said('connection failed').map(({ client, stage, reason }) => ({ client, stage, reason })),
          [{ client: '127.0.0.1', stage: 'tls', reason: 'client-certificate' }],
        );
        assert.equal(upstream.connections.length, 0);
        await noConnections();
      });

      it('resumes the session of a client', async () => {
        const options = { ...spoken, ...identityOf('ann'), servername: 'images.example.org' };
        const first = await sluice.secureClient(options);
        const session = first.tls === null ? null : once(first.tls, 'session');
        assert.equal(await upload(first), 204);
        const kept = version === 'TLSv1.2' ? first.tls?.getSession() : (await session)?.[0];
        first.destroy();
        const second = await sluice.secureClient({ ...options, session: kept });
        assert.equal(await upload(second), 204);
        assert.equal(second.tls?.isSessionReused(), true);
      });
    });
  }

  it('speaks TLS 1.2 unless min_version says otherwise', async () => {
    await start();
    assert.equal(await upload(await sluice.secureClient({ maxVersion: 'TLSv1.2' })), 204);
    await sluice.stop();
    await start({ min_version: 'TLSv1.3' });
    assert.match(await refusal({ maxVersion: 'TLSv1.2' }), /alert protocol version/);
    await failed('invalid');
    assert.equal(await upload(await sluice.secureClient()), 204);
  });

  it('agrees on HTTP/1.1, and on nothing else', async () => {
    await start();
    const client = await sluice.secureClient({ ALPNProtocols: ['h2', 'http/1.1'] });
    assert.equal(client.tls?.alpnProtocol, 'http/1.1');
    assert.match(await refusal({ ALPNProtocols: ['h2'] }), /no application protocol/);
    await failed('invalid');
  });

  it('begins no second handshake on a connection', async () => {
    await start();
    const client = await sluice.secureClient({ maxVersion: 'TLSv1.2' });
    const refused = new Promise((resolve) => client.tls?.renegotiate({}, (error) => resolve(error)));
    const ended = client.closed.then((how) => new Error(how));
    assert.ok((await Promise.race([refused, ended])) instanceof Error, 'it is refused');
  });

  for (const [what, first] of [
    ['says nothing', Buffer.alloc(0)],
    ['begins a handshake and says no more', Buffer.from([22, 3, 1])],
  ] as const) {
    it(`closes a connection that ${what} for client_header_timeout`, async () => {
      await start({}, { client_header_timeout: '100ms' });
      const socket = await bare();
      socket.write(first);
      await once(socket, 'close');
      await failed('timeout');
      await noConnections();
    });

    it(`closes a connection that ${what} for client_socket_timeout`, async () => {
      await start({}, { client_header_timeout: 0, client_socket_timeout: '100ms' });
      const socket = await bare();
      socket.write(first);
      await once(socket, 'close');
      await failed('timeout');
    });

    it(`closes a connection that ${what} when a drain begins`, async () => {
      await start();
      const socket = await bare();
      socket.write(first);
      await eventually(async () => assert.equal(await sluice.metric('sluice_connections'), 1));
      const closed = once(socket, 'close');
      await sluice.gateway.drain();
      await closed;
      assert.deepEqual(log.said('connection failed'), []);
    });

    it(`counts a connection that ${what} and closes`, async () => {
      await start();
      const socket = await bare();
      socket.end(first);
      await once(socket, 'close');
      await failed('client-gone');
      await noConnections();
    });
  }

  it('closes a connection that has said nothing after its handshake when a drain begins', async () => {
    await start();
    const client = await sluice.secureClient();
    await sluice.gateway.drain();
    assert.notEqual(await client.closed, 'local');
  });

  it('lets half a head become a request when a drain begins', async () => {
    await start();
    const client = await sluice.secureClient();
    await client.write('GET /x HTTP/1.1\r\nHost: x\r\n');
    await eventually(() => assert.equal(log.said('serving').length, 1));
    await upload(await sluice.secureClient());
    const drained = sluice.gateway.drain();
    await client.write('\r\n');
    assert.equal((await client.response()).status, 204);
    client.destroy();
    await drained;
  });

  it('counts a connection from its accept on: max_connections holds for those in their handshake', async () => {
    await start({}, { max_connections: 1 });
    const silent = await bare();
    await eventually(async () => assert.equal(await sluice.metric('sluice_connections'), 1));
    const over = await bare();
    await once(over, 'close');
    assert.equal(await sluice.metric('sluice_connections_dropped_total'), 1);
    silent.destroy();
    await noConnections();
    assert.equal(await upload(await sluice.secureClient()), 204);
  });

  it('tells who speaks plain HTTP that it has to be HTTPS', async () => {
    await start();
    const socket = await bare();
    let answer = '';
    socket.on('data', (bytes) => {
      answer += String(bytes);
    });
    socket.write(`${uploadHead(randomUUID(), `Content-Length: ${MiB}`).join('\r\n')}\r\n\r\n`);
    for (let sent = 0; sent < MiB; sent += 64 * KiB) socket.write(Buffer.alloc(64 * KiB));
    await once(socket, 'close');
    assert.match(answer, /^HTTP\/1\.1 400 .*Plain HTTP was sent to a port that speaks HTTPS/s);
    await failed('plain-http');
    assert.equal(log.requests()[0]?.error, 'request-invalid');
    await noConnections();
  });

  it('closes the connection of who speaks plain HTTP and stays, after `lingering`', async () => {
    await start({}, { lingering: { time: '100ms' }, client_header_timeout: '10ms' });
    const socket = await bare();
    socket.resume();
    socket.write('GET / HTTP/1.1\r\n');
    // half-open, so that our side stays
    socket.allowHalfOpen = true;
    await once(socket, 'end');
    await noConnections();
    assert.deepEqual(
      log.said('connection failed').map(({ reason }) => reason),
      ['plain-http'],
    );
  });

  it('closes a connection of garbage, and serves the next', async () => {
    await start();
    for (const garbage of [
      Buffer.alloc(300, 0),
      Buffer.alloc(300, 0xff),
      Buffer.from([22, 3, 1, 0, 5, 9, 9, 9, 9, 9]),
      Buffer.concat([Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 0xfc]), Buffer.alloc(508, 0xff)]),
    ]) {
      const socket = await bare();
      socket.resume();
      socket.write(garbage);
      await once(socket, 'close');
    }
    await failed('invalid', 4);
    assert.equal(await upload(await sluice.secureClient()), 204);
  });

  it('ends a connection whose TLS breaks in the middle of a body, and its upload', async () => {
    await start();
    const socket = await bare();
    const client = connectTls({ socket, ca: caOfTests, servername: 'localhost' });
    client.on('error', () => {});
    await once(client, 'secureConnect');
    client.write(`${uploadHead(randomUUID(), 'Content-Length: 1000').join('\r\n')}\r\n\r\nhello`);
    await eventually(() => upstream.connections.some(({ bodyBytes }) => bodyBytes === 5));
    // a record that nobody has made with the keys of the session
    socket.write(Buffer.concat([Buffer.from([23, 3, 3, 0, 64]), Buffer.alloc(64, 7)]));
    await eventually(() => assert.equal(sluice.gateway.uploadsUnderWay, 0), 'the upload ends');
    assert.equal(sluice.gateway.savingBytes, 0);
    await noConnections();
  });

  it('answers who has closed its side', async () => {
    await start();
    const client = await sluice.secureClient();
    await client.request(...uploadHead(randomUUID(), 'Content-Length: 5'));
    await client.write('hello');
    client.end();
    assert.equal((await client.response()).status, 204);
    assert.equal(await client.closed, 'fin');
    await noConnections();
  });

  it('refuses what is read in two ways, and closes', async () => {
    await start();
    const client = await sluice.secureClient();
    await client.request(
      'GET /v2/images HTTP/1.1',
      'Host: x',
      'Content-Length: 1',
      'Transfer-Encoding: chunked',
    );
    assert.equal((await client.response()).status, 400);
    assert.equal(await client.closed, 'fin');
  });

  it('answers a head that takes too long with 408', async () => {
    await start({}, { client_header_timeout: '200ms' });
    const client = await sluice.secureClient();
    await client.write('GET /v2/images HTTP/1.1\r\n');
    assert.equal((await client.response()).status, 408);
  });

  it('closes an idle connection after client_socket_timeout', async () => {
    await start({}, { client_socket_timeout: '100ms' });
    const client = await sluice.secureClient();
    assert.equal(await upload(client), 204);
    assert.equal(await client.closed, 'fin');
  });

  it('ends the upload of a client that resets its connection while the API takes nothing', async () => {
    upstream.script = (connection) => connection.stopReading();
    await start({}, { upload: { chunk_timeout: 0, watch_interval: 0 }, client_socket_timeout: 0 });
    const client = await sluice.secureClient();
    client.response().catch(() => {});
    const bodyBytes = 128 * MiB;
    await client.request(...uploadHead(randomUUID(), `Content-Length: ${bodyBytes}`));
    void client.write(Buffer.alloc(bodyBytes));
    let received = 0;
    let unchanged = 0;
    await eventually(async () => {
      const [under] = await sluice.uploads();
      const before = received;
      received = under?.received_bytes ?? 0;
      unchanged = received > 0 && received === before ? unchanged + 1 : 0;
      return unchanged === 25;
    }, 'nothing moves any more');
    client.reset();
    await eventually(() => assert.equal(sluice.gateway.uploadsUnderWay, 0), 'the upload ends');
    assert.equal(await sluice.metric('sluice_uploads_total{ending="client-gone"}'), 1);
  });

  describe('delivers an answer before the end of the body', () => {
    const tries = 24;
    const bodyBytes = 8 * MiB;
    beforeEach(async () => {
      upstream.script = (connection) => {
        connection.stopReading();
        connection.answer('413 Early', 'the upstream says 413');
        setImmediate(() => connection.destroy());
      };
      await start();
    });

    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      it(`to ${tries} of ${tries} clients that send all of it first, over ${version}`, async () => {
        const piece = Buffer.alloc(64 * KiB, 'x');
        const outcomes: string[] = [];
        const uploader = async (): Promise<void> => {
          while (outcomes.length < tries) {
            const place = outcomes.push('nothing') - 1;
            const client = await sluice.secureClient({ minVersion: version, maxVersion: version });
            await client.request(...uploadHead(randomUUID(), `Content-Length: ${bodyBytes}`));
            const answer = client.response().then(
              (response) => `${response.status} ${response.body.toString()}`,
              (error: unknown) => String(error),
            );
            for (let at = 0; at < bodyBytes; at += piece.length) await client.write(piece);
            outcomes[place] = await answer;
            client.destroy();
          }
        };
        await Promise.all([uploader(), uploader(), uploader()]);
        assert.deepEqual(outcomes, Array(tries).fill('413 the upstream says 413'));
        for (const connection of upstream.connections) connection.resumeReading();
        await noConnections();
      });
    }

    it('to curl', async function () {
      const curl = (): Promise<string> =>
        new Promise((resolve, reject) => {
          const url = `https://localhost:${sluice.ports.at(-1)}/v2/images/${randomUUID()}/file`;
          const args = [
            '-sS',
            '--cacert',
            certificateFile('authority.pem'),
            '--resolve',
            `localhost:${sluice.ports.at(-1)}:127.0.0.1`,
          ];
          args.push('-T', '-', '-H', 'Expect:', '-H', 'X-User-Id: ann', '-H', 'X-Project-Id: blue', url);
          const child = execFile('curl', args, (error, stdout) => (error ? reject(error) : resolve(stdout)));
          child.stdin?.on('error', () => {});
          child.stdin?.end(Buffer.alloc(bodyBytes, 'x'));
        });
      const outcomes: string[] = [];
      for (let i = 0; i < 20; i += 1) {
        try {
          outcomes.push(await curl());
        } catch (error) {
          // not every machine has it
          if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return this.skip();
          throw error;
        }
      }
      assert.deepEqual(outcomes, Array(20).fill('the upstream says 413'));
    });
  });
});
