import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { WrittenOptions } from '../../src/config/options.ts';
import { MiB } from '../../src/core/units.ts';
import { eventually } from '../support/eventually.ts';
import type { RawClient, RawResponse } from '../support/raw-client.ts';
import { type Script, ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const bodyBytes = 100_000;
const list = ['GET /v2/images HTTP/1.1', 'Host: images', 'X-User-Id: ann', 'X-Project-Id: blue'];

/** What happens with a whole request, and what the client is told. */
const brokenAnswers: readonly (readonly [string, number, string, Script])[] = [
  [
    'garbage',
    502,
    'upstream-invalid',
    async (connection) => {
      await connection.bodyComplete();
      connection.write('\0\x01 this is not HTTP\r\n\r\n');
    },
  ],
  [
    'a close without an answer',
    502,
    'upstream-lost',
    async (connection) => {
      await connection.bodyComplete();
      connection.destroy();
    },
  ],
  [
    'a reset without an answer',
    502,
    'upstream-lost',
    async (connection) => {
      await connection.bodyComplete();
      connection.reset();
    },
  ],
  [
    'a close inside the head of the answer',
    502,
    'upstream-lost',
    async (connection) => {
      await connection.bodyComplete();
      connection.write('HTTP/1.1 204 No');
      connection.end();
    },
  ],
  ['silence', 504, 'upstream-timeout', () => {}],
  ...['000', '099', '600', '999'].map((status): [string, number, string, Script] => [
    `the status ${status}`,
    502,
    'upstream-invalid',
    async (connection) => {
      await connection.bodyComplete();
      connection.answer(`${status} Whatever\r\nConnection: close`, 'what it says');
      connection.end();
    },
  ]),
];

describe('an upstream that is broken', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;

  const start = async (script: Script, changes: WrittenOptions = {}): Promise<void> => {
    upstream = await ScriptedUpstream.start(script);
    sluice = await TestGateway.start(upstream.port, { quota: { usage: { source: 'none' } }, ...changes });
  };

  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  const upload = async (
    client: RawClient,
    framing: 'length' | 'chunked',
    bytes = bodyBytes,
  ): Promise<RawResponse> => {
    const field = framing === 'length' ? `Content-Length: ${bytes}` : 'Transfer-Encoding: chunked';
    await client.request(...uploadHead(randomUUID(), field));
    const answer = client.response();
    answer.catch(() => {});
    const body = Buffer.alloc(bytes, 'x');
    if (framing === 'length') await client.write(body);
    else {
      await client.chunk(body);
      await client.chunk('');
    }
    return answer;
  };

  const told = (answer: RawResponse, status: number, code: string): void => {
    const problem: unknown = JSON.parse(answer.body.toString());
    assert.deepEqual(
      { status: answer.status, code: Object(problem).code },
      { status, code },
      'the client is told what was wrong',
    );
  };

  const nothingLeaked = async (): Promise<void> => {
    await eventually(() => assert.equal(upstream.openSockets, 0), 'the upstream is let go');
    assert.equal(sluice.gateway.uploadsUnderWay, 0);
    // bytes of unknown outcome stay counted until the image says: that is asked soon after
    upstream.script = (connection) => connection.answer('404 Not Found');
    await eventually(() => assert.equal(sluice.gateway.savingBytes, 0), 'the bytes are given back');
  };

  for (const [what, status, code, script] of brokenAnswers) {
    for (const framing of ['length', 'chunked'] as const) {
      it(`${what} after an upload (${framing}) is ${status} ${code}`, async () => {
        await start(script, { upstream: { response_timeout: '200ms' } });
        told(await upload(await sluice.client(), framing), status, code);
        await nothingLeaked();
      });
    }

    it(`${what} after a GET is ${status} ${code}`, async () => {
      await start(script, { upstream: { response_timeout: '200ms' } });
      const client = await sluice.client();
      await client.request(...list);
      told(await client.response(), status, code);
      await nothingLeaked();
    });
  }

  for (const framing of ['length', 'chunked'] as const) {
    it(`a close in the middle of an upload (${framing}) is 502 upstream-lost, and its bytes are given back at once`, async () => {
      await start(async (connection) => {
        await connection.received(1);
        connection.destroy();
      });
      told(await upload(await sluice.client(), framing, 16 * MiB), 502, 'upstream-lost');
      assert.equal(sluice.gateway.savingBytes, 0);
      await nothingLeaked();
    });

    it(`an upstream that reads no more (${framing}) is 504 upstream-stalled`, async () => {
      await start(
        (connection) => {
          connection.stopReading();
          // the end of the connection is seen only by whoever reads: look when the gateway is through
          void eventually(() => sluice.gateway.uploadsUnderWay === 0).then(
            () => connection.resumeReading(),
            () => {},
          );
        },
        { upload: { chunk_timeout: '200ms' } },
      );
      told(await upload(await sluice.client(), framing, 32 * MiB), 504, 'upstream-stalled');
      assert.equal(sluice.gateway.savingBytes, 0);
      await nothingLeaked();
    });
  }

  it('the status 599, the last there is, is relayed', async () => {
    await start((connection) => connection.answer('599 Whatever\r\nConnection: close', 'what it says'));
    const client = await sluice.client();
    await client.request(...list);
    assert.equal((await client.response()).status, 599);
    await nothingLeaked();
  });

  it('an answer that breaks off breaks off for the client of a GET too', async () => {
    await start((connection) => {
      connection.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf');
      connection.end();
    });
    const client = await sluice.client();
    await client.request(...list);
    await assert.rejects(client.response(), /the connection ended/);
    await nothingLeaked();
  });

  describe('that refuses connections', () => {
    beforeEach(async () => {
      await start(() => {});
      await sluice.stop();
      // a port that was just free
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close();
      await once(server, 'close');
      sluice = await TestGateway.start(port, { quota: { usage: { source: 'none' } } });
    });

    it('is 502 upstream-unreachable for an upload, without a 100 for Expect: 100-continue', async () => {
      const client = await sluice.client();
      await client.request(...uploadHead(randomUUID(), 'Content-Length: 5', 'Expect: 100-continue'));
      const answer = await client.response();
      told(answer, 502, 'upstream-unreachable');
      assert.deepEqual(answer.informational, [], 'the client was not asked for its body');
      assert.equal(sluice.gateway.savingBytes, 0);
      await nothingLeaked();
    });

    for (const framing of ['length', 'chunked'] as const) {
      it(`is 502 upstream-unreachable for an upload that does not wait (${framing})`, async () => {
        told(await upload(await sluice.client(), framing), 502, 'upstream-unreachable');
        assert.equal(sluice.gateway.savingBytes, 0);
        await nothingLeaked();
      });
    }

    it('is 502 upstream-unreachable for a GET', async () => {
      const client = await sluice.client();
      await client.request(...list);
      told(await client.response(), 502, 'upstream-unreachable');
      await nothingLeaked();
    });
  });
});
