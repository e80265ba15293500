import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { KiB } from '../../src/core/units.ts';
import { RawClient } from '../support/raw-client.ts';
import { uploadHead, uploadsUnderWay } from '../support/test-gateway.ts';
import { LoadedGateway } from './support/loaded-gateway.ts';

const uploads = 1_000;
/** Opened at once, so that the listener's queue is never full. */
const together = 20;
const half = Buffer.alloc(64 * KiB, 'x');

const lanes = ['stream', 'splice'] as const;
const framings = ['known', 'unknown'] as const;

/** Resident memory that each may cost. */
const mostBytes = 64 * KiB;

describe(`${uploads} uploads that are sent by half and held`, () => {
  let gateway: LoadedGateway;
  afterEach(() => gateway.stop());

  for (const [lane, framing] of lanes.flatMap((lane) =>
    framings.map((framing) => [lane, framing] as const),
  )) {
    it(`of ${framing} length in the ${lane} lane cost at most ${mostBytes / KiB} KiB each, and others are served; then all finish`, async () => {
      gateway = await LoadedGateway.start({ upload: { lane, splice_from: 0 } });
      const chunked = framing === 'unknown';
      const begin = async (): Promise<RawClient> => {
        const client = await RawClient.connect(gateway.port);
        const field = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${2 * half.length}`;
        await client.request(...uploadHead(randomUUID(), field));
        await (chunked ? client.chunk(half) : client.write(half));
        return client;
      };
      const finish = async (client: RawClient): Promise<number> => {
        await (chunked ? client.chunk(half) : client.write(half));
        if (chunked) await client.chunk('');
        const { status } = await client.response();
        client.destroy();
        return status;
      };
      /** Begins that many; resolves when every byte of them is with the API. */
      const hold = async (count: number): Promise<RawClient[]> => {
        const clients: RawClient[] = [];
        while (clients.length < count) {
          clients.push(...(await Promise.all(Array.from({ length: together }, begin))));
        }
        for (;;) {
          const rows = await uploadsUnderWay(gateway.adminPort);
          if (rows.length === count && rows.every(({ sent_bytes }) => sent_bytes === half.length)) {
            assert.deepEqual(new Set(rows.map((row) => row.lane)), new Set([lane]));
            return clients;
          }
          await sleep(100);
        }
      };
      // what the process allocates once is not what an upload costs
      for (const client of await hold(100)) assert.equal(await finish(client), 204);
      const beforeBytes = await gateway.residentBytesOfLive();
      const clients = await hold(uploads);
      const eachBytes = ((await gateway.residentBytesOfLive()) - beforeBytes) / uploads;
      const stopProbing = gateway.probe();
      await sleep(2_000);
      const { failures, answered, longestMs } = await stopProbing();
      console.log(
        `      ${(eachBytes / KiB).toFixed(1)} KiB each; ${answered} others served, the slowest in ${longestMs} ms`,
      );
      assert.deepEqual(failures, []);
      assert.equal(answered > 0, true);
      const statuses = await Promise.all(clients.map(finish));
      assert.deepEqual(new Set(statuses), new Set([204]));
      assert.equal(eachBytes <= mostBytes, true, `each costs ${eachBytes / KiB} KiB`);
      assert.equal(await gateway.terminate(), 0);
    });
  }
});
