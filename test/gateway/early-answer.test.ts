import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { MiB } from '../../src/core/units.ts';
import { eventually } from '../support/eventually.ts';
import type { RawClient } from '../support/raw-client.ts';
import { ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const bodyBytes = 8 * MiB;
const pieceBytes = 64 * 1024;
const uploads = 40;
const together = 4;

const framings = [
  [
    'of known length',
    `Content-Length: ${bodyBytes}`,
    (client: RawClient, bytes: Buffer) => client.write(bytes),
  ],
  [
    'of unknown length',
    'Transfer-Encoding: chunked',
    (client: RawClient, bytes: Buffer) => client.chunk(bytes),
  ],
] as const;

const departures: readonly (readonly [string, string, (connection: UpstreamConnection) => void])[] = [
  ['413', 'closes', (connection) => setImmediate(() => connection.destroy())],
  ['401', 'closes', (connection) => setImmediate(() => connection.destroy())],
  [
    '413',
    'sends FIN and resets',
    (connection) => {
      connection.end();
      // a reset of the same moment would take the answer away from any reader
      setTimeout(() => connection.reset(), 5);
    },
  ],
  ['401', 'sends FIN and reads no more', (connection) => connection.end()],
];

describe('an answer before the end of the body', () => {
  for (const [framing, field, write] of framings) {
    for (const [status, departure, depart] of departures) {
      it(`${status} of an upstream that then ${departure} is read by ${uploads} of ${uploads} clients with a body ${framing}`, async () => {
        const said = `the upstream says ${status}`;
        const upstream = await ScriptedUpstream.start((connection) => {
          connection.stopReading();
          connection.answer(`${status} Early`, said);
          depart(connection);
        });
        const sluice = await TestGateway.start(upstream.port, { quota: { usage: { source: 'none' } } });
        try {
          const body = Buffer.alloc(pieceBytes, 'x');
          const outcomes: string[] = [];
          const uploader = async (): Promise<void> => {
            while (outcomes.length < uploads) {
              const place = outcomes.push('nothing') - 1;
              const client = await sluice.client();
              await client.request(...uploadHead(randomUUID(), field));
              const answer = client.response().then(
                (response) => `${response.status} ${response.body.toString()}`,
                (error: unknown) => String(error),
              );
              // as a simple client does: all of the body first, whatever comes
              for (let at = 0; at < bodyBytes; at += pieceBytes) await write(client, body);
              outcomes[place] = await answer;
              client.destroy();
            }
          };
          await Promise.all(Array.from({ length: together }, uploader));
          assert.deepEqual(outcomes, Array(uploads).fill(`${status} ${said}`));
          // an end is seen only by whoever reads
          for (const connection of upstream.connections) connection.resumeReading();
          await eventually(() => assert.equal(upstream.openSockets, 0), 'the upstream is let go');
          assert.equal(sluice.gateway.savingBytes, 0);
          assert.equal(sluice.gateway.uploadsUnderWay, 0);
        } finally {
          await sluice.stop();
          await upstream.stop();
        }
      });
    }
  }
});
