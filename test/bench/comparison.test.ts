import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { compare } from '../../bench/measure/comparison.ts';
import { type Contender, ContenderUnavailable, direct } from '../../bench/measure/contender.ts';
import { heldUploads } from '../../bench/measure/held-uploads.ts';
import { smallRequests } from '../../bench/measure/small-requests.ts';
import { type TransferOptions, transfer } from '../../bench/measure/transfer.ts';
import type { Workload } from '../../bench/measure/workload.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import { listening } from './listening.ts';

const options: TransferOptions = {
  name: 'uploads',
  title: 'Uploads',
  kind: 'upload',
  frameBytes: 0,
  bodyBytes: 16 * MiB,
  connections: 2,
  keepAlive: true,
  roundSeconds: 0.02,
  per: 'GB',
};
const quiet = (): void => {};

/** Reads every upload, and stores none. */
const hypocrite: Contender = {
  name: 'hypocrite',
  version: async () => '1',
  async start() {
    const server = createServer((request, response) => {
      request.resume().on('end', () => response.writeHead(204).end());
    });
    const { port, stop } = await listening(server);
    return { port, pids: [], stop };
  },
};

describe('a comparison', () => {
  before(function () {
    if (process.platform !== 'linux') this.skip();
  });

  it('gives each contender one figure a round', async () => {
    const result = await compare(transfer(options), [direct], 2, quiet);
    const [row] = result.rows;
    assert.equal(row?.failure, null);
    assert.equal(row?.figures.speed?.length, 2);
    assert.equal(row?.figures.generator?.length, 2);
    assert.deepEqual(row?.figures.cpu, [], 'no proxy, no CPU of it');
  });

  it('measures a proxy with its CPU and its memory', async () => {
    const self: Contender = {
      name: 'self',
      version: async () => '',
      start: async ({ originPort }) => ({ port: originPort, pids: [process.pid], stop: async () => {} }),
    };
    const { rows } = await compare(transfer(options), [self], 1, quiet);
    assert.equal((rows[0]?.figures.resident?.[0] ?? 0) > 10, true);
    assert.equal(rows[0]?.figures.cpu?.length, 1);
  });

  it('shows whoever fails the proof with the reason, and measures the others', async () => {
    const { rows } = await compare(transfer(options), [hypocrite, direct], 1, quiet);
    assert.equal(rows[0]?.failure, 'an upload was answered and has not arrived');
    assert.deepEqual(rows[0]?.figures.speed, []);
    assert.equal(rows[1]?.failure, null);
    assert.equal(rows[1]?.figures.speed?.length, 1);
  });

  it('shows whoever loses bytes after the proof', async () => {
    const unproved: Workload = { ...transfer(options), prove: async () => {} };
    const { rows } = await compare(unproved, [hypocrite, direct], 1, quiet);
    assert.match(rows[0]?.failure ?? '', /^0 of \d+ bytes have arrived$/);
    assert.equal(rows[1]?.failure, null);
  });

  it('shows whoever cannot be had', async () => {
    const absent: Contender = {
      name: 'absent',
      version: async () => '1',
      start: () => Promise.reject(new ContenderUnavailable('not built yet')),
    };
    const { rows } = await compare(transfer(options), [absent, direct], 1, quiet);
    assert.deepEqual(
      rows.map(({ failure }) => failure),
      ['not built yet', null],
    );
  });

  it('stops all that it started, also when a workload cannot be opened', async () => {
    const stopped: string[] = [];
    const contender: Contender = {
      name: 'one',
      version: async () => '',
      start: async ({ originPort }) => ({
        port: originPort,
        pids: [],
        stop: async () => void stopped.push('one'),
      }),
    };
    const workload: Workload = {
      name: 'none',
      title: '',
      figures: [],
      prove: async () => {},
      open: async () => ({
        originPort: 0,
        rounds: () => () => Promise.reject(new Error('no')),
        close: async () => void stopped.push('origin'),
      }),
    };
    const { rows } = await compare(workload, [contender], 2, quiet);
    assert.equal(rows[0]?.failure, 'no');
    assert.deepEqual(stopped, ['one', 'origin']);
  });

  it('counts small requests, and fails whoever refuses one', async () => {
    const requests = smallRequests({ name: 'requests', title: '', connections: 2, roundSeconds: 1 });
    const { rows } = await compare(requests, [direct, hypocrite], 1, quiet);
    assert.equal((rows[0]?.figures.speed?.[0] ?? 0) > 0, true);
    assert.equal(rows[1]?.failure, 'it was answered 204');
  });

  for (const frameBytes of [0, 64 * KiB]) {
    it(`holds uploads in rounds, ${frameBytes === 0 ? 'by length' : 'in frames'}`, async () => {
      const held = heldUploads({ name: 'held', title: '', uploads: 20, frameBytes });
      const { rows, rounds } = await compare(held, [direct], 5, quiet);
      assert.equal(rounds, 1);
      assert.deepEqual(rows[0]?.figures.arrived, [100]);
    });
  }
});
