import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { WrittenOptions } from '../../src/config/options.ts';
import { eventually } from '../support/eventually.ts';
import type { RawClient, RawResponse } from '../support/raw-client.ts';
import { codeOf } from '../support/running-gateway.ts';
import { type Script, ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const body = 'the body of an image';
const isUpload = ({ head }: UpstreamConnection): boolean => head.startsWith('PUT ');
const isQuestion = ({ head }: UpstreamConnection): boolean => head.startsWith('GET /v2/images/');

const store: Script = async (connection) => {
  await connection.bodyComplete();
  connection.answer('204 No Content');
};

const framings = [
  ['known', `Content-Length: ${body.length}`],
  ['unknown', 'Transfer-Encoding: chunked'],
] as const;

type Framing = (typeof framings)[number][0];

/** What an upstream does instead of asking for the body, and what the client is told. */
const refusals: readonly (readonly [what: string, Script, status: number, code: string, ending: string])[] = [
  ['401', (connection) => connection.answer('401 Unauthorized', 'log in'), 401, 'log in', 'refused'],
  ['409', (connection) => connection.answer('409 Conflict', 'not queued'), 409, 'not queued', 'refused'],
  ['503', (connection) => connection.answer('503 Busy', 'later'), 503, 'later', 'refused'],
  [
    '401 and a close',
    (connection) => {
      connection.answer('401 Unauthorized', 'log in');
      connection.end();
    },
    401,
    'log in',
    'refused',
  ],
  ['a close', (connection) => connection.destroy(), 502, 'upstream-lost', 'upstream-lost'],
  ['a reset', (connection) => connection.reset(), 502, 'upstream-lost', 'upstream-lost'],
  [
    'garbage',
    (connection) => connection.write('\0 garbage\r\n\r\n'),
    502,
    'upstream-invalid',
    'upstream-lost',
  ],
];

describe('an upstream that is asked before the body', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;

  const start = async (script: Script, upload: WrittenOptions['upload'], more: WrittenOptions = {}) => {
    upstream = await ScriptedUpstream.start(script);
    sluice = await TestGateway.start(upstream.port, {
      quota: { usage: { source: 'none' } },
      upload,
      ...more,
    });
  };

  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  const fieldOf = (framing: Framing): string => framings.find(([name]) => name === framing)?.[1] ?? '';

  const sendBody = async (client: RawClient, framing: Framing): Promise<void> => {
    if (framing === 'known') return client.write(body);
    await client.chunk(body);
    await client.chunk('');
  };

  const endsAs = async (ending: string): Promise<void> => {
    const line = await eventually(() => sluice.lines.find(({ method }) => method === 'PUT') ?? null);
    assert.equal(line.ending, ending);
    assert.equal(sluice.gateway.savingBytes, 0);
    assert.equal(sluice.gateway.uploadsUnderWay, 0);
    await eventually(() => assert.equal(upstream.openSockets, 0), 'the upstream is let go');
  };

  const refusedWithoutBody = async (framing: Framing): Promise<RawResponse> => {
    const client = await sluice.client();
    await client.request(...uploadHead(randomUUID(), fieldOf(framing), 'Expect: 100-continue'));
    const answer = await client.response();
    assert.deepEqual(answer.informational, [], 'the client is not asked for its body');
    return answer;
  };

  describe('by Expect: 100-continue', () => {
    const expect = { preflight: 'expect' } as const;

    for (const [framing] of framings) {
      it(`is sent the body once it says 100, and no byte before (${framing} length)`, async () => {
        await start(() => {}, { ...expect, continue_wait: '60s' });
        const client = await sluice.client();
        await client.request(...uploadHead(randomUUID(), fieldOf(framing)));
        await sendBody(client, framing);
        const connection = await eventually(() => upstream.connections[0] ?? null);
        assert.equal(connection.header('expect'), '100-continue');
        // a whole exchange of another connection: time enough for a byte to come
        await (await sluice.client()).request('GET /v2/images HTTP/1.1', 'Host: x');
        (await eventually(() => upstream.connections[1] ?? null)).answer('200 OK\r\nConnection: close');
        assert.equal(connection.bodyBytes, 0);
        connection.write('HTTP/1.1 100 Continue\r\n\r\n');
        await store(connection);
        assert.equal((await client.response()).status, 204);
        assert.match(connection.body.toString(), new RegExp(body));
        await endsAs('stored');
      });

      it(`that never says 100 gets the body after continue_wait (${framing} length)`, async () => {
        await start(store, { ...expect, continue_wait: '50ms' });
        const client = await sluice.client();
        await client.request(...uploadHead(randomUUID(), fieldOf(framing)));
        await sendBody(client, framing);
        assert.equal((await client.response()).status, 204);
        await endsAs('stored');
      });

      for (const [what, script, status, code, ending] of refusals) {
        it(`${what}: the client reads ${status} and sends no byte (${framing} length)`, async () => {
          await start(script, { ...expect, continue_wait: '60s' });
          const answer = await refusedWithoutBody(framing);
          assert.deepEqual([answer.status, codeOf(answer.body)], [status, code]);
          await endsAs(ending);
          assert.equal(upstream.connections[0]?.bodyBytes, 0);
        });
      }

      it(`that knows no expectation is asked again without one (${framing} length)`, async () => {
        await start(
          (connection) =>
            connection.header('expect') === null
              ? store(connection)
              : connection.answer('417 Expectation Failed'),
          { ...expect, continue_wait: '60s' },
        );
        const client = await sluice.client();
        await client.request(...uploadHead(randomUUID(), fieldOf(framing), 'Expect: 100-continue'));
        await client.receive(1);
        await sendBody(client, framing);
        const { status, informational } = await client.response();
        assert.deepEqual([status, informational], [204, [100]]);
        assert.equal(upstream.connections.length, 2);
        await endsAs('stored');
      });
    }

    it('says 100 to a client that waits for it only after the upstream did', async () => {
      await start(() => {}, { ...expect, continue_wait: '60s' });
      const client = await sluice.client();
      await client.request(...uploadHead(randomUUID(), fieldOf('known'), 'Expect: 100-continue'));
      const connection = await eventually(() => upstream.connections[0] ?? null);
      assert.equal(client.unread.length, 0);
      connection.write('HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n');
      await client.receive(1);
      await sendBody(client, 'known');
      await store(connection);
      const { status, informational } = await client.response();
      assert.deepEqual([status, informational], [204, [100]]);
      await endsAs('stored');
    });

    it('is not asked about a body of no bytes', async () => {
      await start(store, { ...expect, continue_wait: '60s' });
      const client = await sluice.client();
      await client.request(...uploadHead(randomUUID(), 'Content-Length: 0'));
      assert.equal((await client.response()).status, 204);
      assert.equal(upstream.connections[0]?.header('expect'), null);
      await endsAs('stored');
    });

    it('is not asked where nobody wants it, whatever the client says', async () => {
      await start(store, {});
      const client = await sluice.client();
      await client.request(...uploadHead(randomUUID(), fieldOf('known'), 'Expect: 100-continue'));
      await client.receive(1);
      await sendBody(client, 'known');
      assert.equal((await client.response()).status, 204);
      assert.equal(upstream.connections[0]?.header('expect'), null);
      await endsAs('stored');
    });

    it('is let go when the client leaves while it is asked', async () => {
      await start(() => {}, { ...expect, continue_wait: '60s' });
      const client = await sluice.client();
      await client.request(...uploadHead(randomUUID(), fieldOf('known'), 'Expect: 100-continue'));
      const connection = await eventually(() => upstream.connections[0] ?? null);
      client.reset();
      assert.equal(await connection.closed, 'reset');
      await endsAs('client-gone');
    });
  });

  describe('by a request', () => {
    const request = { preflight: 'request' } as const;
    /** Answers uploads by storing, and questions by the script. */
    const asked =
      (script: Script): Script =>
      (connection) =>
        isUpload(connection) ? store(connection) : script(connection);
    const yes: Script = (connection) =>
      connection.answer('200 OK\r\nConnection: close', '{"status":"queued","owner":"blue"}');

    for (const [framing] of framings) {
      it(`is sent the upload after it said yes, and no byte before (${framing} length)`, async () => {
        await start(
          asked(() => {}),
          request,
        );
        const client = await sluice.client();
        const image = randomUUID();
        await client.request(...uploadHead(image, fieldOf(framing), 'X-Auth-Token: secret'));
        await sendBody(client, framing);
        const question = await eventually(() => upstream.connections.find(isQuestion) ?? null);
        assert.match(question.head, new RegExp(`^GET /v2/images/${image} HTTP/1.1\r\n`));
        assert.equal(question.header('x-auth-token'), 'secret');
        assert.equal(question.header('content-type'), null);
        assert.equal(upstream.connections.some(isUpload), false);
        yes(question);
        assert.equal((await client.response()).status, 204);
        await overAs('stored');
      });

      for (const [what, script, status, code, ending] of refusals) {
        it(`${what}: the client reads ${status} and sends no byte (${framing} length)`, async () => {
          await start(asked(script), request);
          const answer = await refusedWithoutBody(framing);
          assert.deepEqual([answer.status, codeOf(answer.body)], [status, code]);
          await overAs(ending);
          assert.equal(upstream.connections.some(isUpload), false);
        });
      }

      it(`silence: the client reads 504 and sends no byte (${framing} length)`, async () => {
        await start(
          asked(() => {}),
          { ...request, preflight_timeout: '100ms' },
        );
        const answer = await refusedWithoutBody(framing);
        assert.deepEqual([answer.status, codeOf(answer.body)], [504, 'upstream-timeout']);
        await overAs('upstream-stalled');
      });
    }

    /** Kept connections stay open. */
    const overAs = async (ending: string): Promise<void> => {
      const line = await eventually(() => sluice.lines.find(({ method }) => method === 'PUT') ?? null);
      assert.equal(line.ending, ending);
      assert.equal(sluice.gateway.savingBytes, 0);
      assert.equal(sluice.gateway.uploadsUnderWay, 0);
    };

    for (const status of [204, 302]) {
      it(`${status}, which would say of an upload that it is stored or lies elsewhere, is 502`, async () => {
        await start(
          asked((connection) => connection.answer(`${status} Whatever\r\nLocation: /elsewhere`)),
          request,
        );
        const answer = await refusedWithoutBody('known');
        assert.deepEqual([answer.status, codeOf(answer.body)], [502, 'upstream-invalid']);
        await overAs('upstream-lost');
      });
    }

    it('is asked a second time when a kept connection breaks, and not when a new one does', async () => {
      // the second question on a connection ends it
      const oneAnswerEach: Script = async (connection) => {
        connection.answer('200 OK', '{}');
        await connection.received(1);
        connection.reset();
      };
      await start(asked(oneAnswerEach), request);
      for (const questions of [1, 2]) {
        const client = await sluice.client();
        await client.request(...uploadHead(randomUUID(), fieldOf('known')));
        await sendBody(client, 'known');
        assert.equal((await client.response()).status, 204);
        assert.equal(upstream.connections.filter(isQuestion).length, questions);
      }
      upstream.script = (connection) => connection.reset();
      const answer = await refusedWithoutBody('known');
      assert.equal(answer.status, 502);
      assert.equal(upstream.connections.filter(isQuestion).length, 3);
    });

    it('is not asked again when the image was looked up for its owner', async () => {
      const list: Script = (connection) => connection.answer('200 OK\r\nConnection: close', '{"images":[]}');
      await start(
        asked((connection) => (isQuestion(connection) ? yes(connection) : list(connection))),
        request,
        { quota: { limits: [{ per: 'project', total: '1MiB' }] } },
      );
      const client = await sluice.client();
      await client.request(...uploadHead(randomUUID(), fieldOf('known')));
      await sendBody(client, 'known');
      assert.equal((await client.response()).status, 204);
      assert.equal(upstream.connections.filter(isQuestion).length, 1);
    });

    it('is let go when the client leaves while it is asked', async () => {
      await start(
        asked(() => {}),
        request,
      );
      const client = await sluice.client();
      await client.request(...uploadHead(randomUUID(), fieldOf('known'), 'Expect: 100-continue'));
      const question = await eventually(() => upstream.connections.find(isQuestion) ?? null);
      client.reset();
      assert.equal(await question.closed, 'reset', 'nor the API');
      await overAs('client-gone');
      assert.equal(upstream.connections.some(isUpload), false);
    });

    it('may take longer than client_socket_timeout: the client is not the one who is slow', async () => {
      await start(
        asked(() => {}),
        request,
        {
          client_socket_timeout: '200ms',
          client_min_rate: { bytes: 1, per: '200ms', grace: 0 },
        },
      );
      const client = await sluice.client();
      await client.request(...uploadHead(randomUUID(), fieldOf('known'), 'Expect: 100-continue'));
      const question = await eventually(() => upstream.connections.find(isQuestion) ?? null);
      // as long as two idle connections live, one after the other
      for (let i = 0; i < 2; i += 1) assert.notEqual(await (await sluice.client()).closed, 'local');
      yes(question);
      await client.receive(1);
      await sendBody(client, 'known');
      assert.equal((await client.response()).status, 204);
      await overAs('stored');
    });
  });
});
