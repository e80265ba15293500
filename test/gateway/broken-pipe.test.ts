import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { KiB, MiB } from '../../src/core/units.ts';
import { eventually } from '../support/eventually.ts';
import type { RawClient } from '../support/raw-client.ts';
import { codeOf } from '../support/running-gateway.ts';
import { type Script, ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TestGateway } from '../support/test-gateway.ts';

// A dead session of a vCenter was found only as a broken pipe, and the client was told 400 (Launchpad 1436034). Whatever
// breaks on the way to the API is the API's: 502, in every kind of request, at every moment.

const image = randomUUID();
const json = 'Content-Type: application/json';
const patch = 'Content-Type: application/openstack-images-v2.1-json-patch';
const large = Buffer.alloc(8 * MiB, ' ');
const small = Buffer.from('{"method":{"name":"glance-direct"}}');

const requests: readonly (readonly [what: string, line: string, type: string, body: Buffer])[] = [
  ['an upload', `PUT /v2/images/${image}/file`, 'Content-Type: application/octet-stream', large],
  ['a stage', `PUT /v2/images/${image}/stage`, 'Content-Type: application/octet-stream', large],
  ['a body that is passed through', 'POST /v2/metadefs/namespaces', json, large],
  ['a body that is judged', `POST /v2/images/${image}/import`, json, small],
  ['a change that is judged', `PATCH /v2/images/${image}`, patch, Buffer.from('[]')],
];

/** What the upstream does once a part of the body, or its head, is there. */
const breaks: readonly (readonly [what: string, Script])[] = [
  ['closes with the body unread', (connection) => connection.destroy()],
  ['resets with the body unread', (connection) => connection.reset()],
  [
    'resets in the middle of the body',
    async (connection) => {
      await connection.received(1);
      connection.reset();
    },
  ],
  [
    'closes after the whole body',
    async (connection) => {
      await connection.bodyComplete();
      connection.destroy();
    },
  ],
  [
    'ends its side and reads no more',
    (connection) => {
      connection.stopReading();
      connection.end();
    },
  ],
];

describe('a broken pipe', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;

  afterEach(async () => {
    for (const connection of upstream.connections) connection.resumeReading();
    await sluice.stop();
    await upstream.stop();
  });

  const send = async (client: RawClient, body: Buffer, chunked: boolean): Promise<void> => {
    for (let at = 0; at < body.length; at += 64 * KiB) {
      const piece = body.subarray(at, at + 64 * KiB);
      await (chunked ? client.chunk(piece) : client.write(piece));
    }
    if (chunked) await client.chunk('');
  };

  for (const [what, line, type, body] of requests) {
    for (const [how, script] of breaks) {
      for (const framing of ['length', 'chunked'] as const) {
        it(`of ${what} (${framing}) is the API’s fault: it ${how}`, async () => {
          upstream = await ScriptedUpstream.start(script);
          sluice = await TestGateway.start(upstream.port, {
            max_body: 0,
            quota: { usage: { source: 'none' } },
            upload: { chunk_timeout: '5s' },
            upstream: { response_timeout: '5s' },
          });
          const client = await sluice.client();
          const field =
            framing === 'length' ? `Content-Length: ${body.length}` : 'Transfer-Encoding: chunked';
          await client.request(
            `${line} HTTP/1.1`,
            'Host: x',
            'X-User-Id: ann',
            'X-Project-Id: blue',
            type,
            field,
          );
          const answered = client.response();
          await send(client, body, framing === 'chunked');
          const answer = await answered;
          assert.deepEqual([answer.status, codeOf(answer.body)], [502, 'upstream-lost']);
          const [logged] = await eventually(() => (sluice.lines.length > 0 ? sluice.lines : null));
          assert.deepEqual([logged?.status, logged?.error], [502, 'upstream-lost']);
        });
      }
    }
  }
});
