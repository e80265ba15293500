import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { WrittenOptions } from '../../src/config/options.ts';
import type { Ending } from '../../src/core/endings.ts';
import type { ErrorCode } from '../../src/core/errors.ts';
import { MiB } from '../../src/core/units.ts';
import { eventually } from '../support/eventually.ts';
import type { RawClient } from '../support/raw-client.ts';
import { codeOf } from '../support/running-gateway.ts';
import { type Script, ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

// What the lane alone does is in lane-stalls.test.ts. Here the client reads the answer, and the log says the same.

const bodyBytes = 32 * MiB;
const whole = Buffer.alloc(bodyBytes, 'x');
/** Made before any client is waited for. */
const wholeChunked = Buffer.concat([
  Buffer.from(`${bodyBytes.toString(16)}\r\n`),
  whole,
  Buffer.from('\r\n0\r\n\r\n'),
]);
/** The deadline that is met. */
const soon = '400ms';
/** Stricter than the deadline that is met: whoever is blamed wrongly is blamed first. */
const sooner = '200ms';
const strictClient: WrittenOptions = {
  client_socket_timeout: sooner,
  client_min_rate: { bytes: 1, per: sooner, grace: 0 },
};

const takesAll: Script = async (connection) => {
  await connection.bodyComplete();
  connection.answer('204 No Content');
};
const readsNothing: Script = (connection) => connection.stopReading();
const answersNothing: Script = () => {};

interface Row {
  readonly promise: string;
  readonly changes: WrittenOptions;
  readonly script: Script;
  /** Bytes of the body that are sent; the rest never is. */
  readonly sentBytes: number;
  readonly status: number;
  readonly code: ErrorCode;
  readonly ending: Ending;
}

const rows: readonly Row[] = [
  {
    promise: 'a client that sends nothing',
    changes: {
      client_socket_timeout: soon,
      upload: { chunk_timeout: sooner },
      upstream: { response_timeout: sooner },
    },
    script: takesAll,
    sentBytes: 0,
    status: 408,
    code: 'client-stalled',
    ending: 'client-stalled',
  },
  {
    promise: 'a client that stops sending',
    changes: {
      client_socket_timeout: soon,
      upload: { chunk_timeout: sooner },
      upstream: { response_timeout: sooner },
    },
    script: takesAll,
    sentBytes: 100_000,
    status: 408,
    code: 'client-stalled',
    ending: 'client-stalled',
  },
  {
    promise: 'a client that sends less than client_min_rate',
    changes: {
      client_min_rate: { bytes: bodyBytes, per: soon, grace: 0 },
      upload: { chunk_timeout: sooner },
    },
    script: takesAll,
    sentBytes: 100_000,
    status: 408,
    code: 'client-too-slow',
    ending: 'client-too-slow',
  },
  {
    promise: 'an upstream that reads nothing, though the client has pushed all that it can',
    changes: { ...strictClient, upload: { chunk_timeout: soon } },
    script: readsNothing,
    sentBytes: bodyBytes,
    status: 504,
    code: 'upstream-stalled',
    ending: 'upstream-stalled',
  },
  {
    promise: 'an upstream that answers nothing, though it has the whole body',
    changes: {
      ...strictClient,
      upload: { chunk_timeout: soon, time_limit: { base: '10s' } },
      upstream: { response_timeout: soon },
    },
    script: answersNothing,
    sentBytes: bodyBytes,
    status: 504,
    code: 'upstream-timeout',
    // whether it is stored only the API knows
    ending: 'unknown',
  },
  {
    promise: 'a client that needs more than time_limit',
    changes: { upload: { time_limit: { base: soon }, chunk_timeout: sooner } },
    script: takesAll,
    sentBytes: 100_000,
    status: 408,
    code: 'client-too-slow',
    ending: 'client-too-slow',
  },
  {
    promise: 'an upstream that makes a body need more than time_limit',
    changes: { ...strictClient, upload: { time_limit: { base: soon } } },
    script: readsNothing,
    sentBytes: bodyBytes,
    status: 504,
    code: 'upstream-stalled',
    ending: 'upstream-stalled',
  },
];

describe('who stalled', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;

  afterEach(async () => {
    for (const connection of upstream.connections) connection.resumeReading();
    await sluice.stop();
    await upstream.stop();
  });

  const upload = (client: RawClient, framing: 'known' | 'unknown', sentBytes: number) => {
    const field = framing === 'known' ? `Content-Length: ${bodyBytes}` : 'Transfer-Encoding: chunked';
    const answer = client.response();
    answer.catch(() => {});
    void client.request(...uploadHead(randomUUID(), field));
    if (sentBytes === bodyBytes) void client.write(framing === 'known' ? whole : wholeChunked);
    else if (sentBytes > 0) {
      const body = whole.subarray(0, sentBytes);
      void (framing === 'known' ? client.write(body) : client.chunk(body));
    }
    return answer;
  };

  for (const { promise, changes, script, sentBytes, status, code, ending } of rows) {
    for (const framing of ['known', 'unknown'] as const) {
      it(`${status} ${code}, ended as ${ending}: ${promise} (${framing} length)`, async () => {
        upstream = await ScriptedUpstream.start(script);
        sluice = await TestGateway.start(upstream.port, { quota: { usage: { source: 'none' } }, ...changes });
        const answer = await upload(await sluice.client(), framing, sentBytes);
        assert.deepEqual([answer.status, codeOf(answer.body)], [status, code]);
        const line = await eventually(() => sluice.lines.find(({ method }) => method === 'PUT') ?? null);
        assert.deepEqual([line.status, line.error, line.ending], [status, code, ending]);
        assert.equal(await sluice.metric(`sluice_uploads_total{ending="${ending}"}`), 1);
        if (ending !== 'unknown') assert.equal(sluice.gateway.savingBytes, 0);
        assert.equal(sluice.gateway.uploadsUnderWay, 0);
      });
    }
  }
});
