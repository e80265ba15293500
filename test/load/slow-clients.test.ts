import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { MiB } from '../../src/core/units.ts';
import { LoadedGateway } from './support/loaded-gateway.ts';

const long = process.env.SLUICE_LOAD === 'long';
const clients = long ? 4_000 : 1_000;
const seconds = long ? 60 : 10;
/** Opened in each second. */
const rate = 500;

/** slowhttptest(1): what is said of each mode beside clients, rate and time. */
const modes = [
  ['slow headers', '/v2/images', ['-H', '-i', '2', '-x', '24', '-p', '3']],
  [
    'slow bodies of uploads',
    `/v2/images/${randomUUID()}/file`,
    ['-B', '-i', '2', '-s', '8192', '-x', '10', '-t', 'PUT', '-p', '3', '-f', 'application/octet-stream'],
  ],
  ['range headers', '/v2/images', ['-R', '-a', '1', '-b', '3000', '-t', 'GET', '-p', '3']],
  [
    'slow reading',
    '/v2/images?large',
    ['-X', '-w', '512', '-y', '1024', '-n', '2', '-z', '32', '-k', '3', '-p', '3'],
  ],
] as const;

describe(`${clients} slow clients for ${seconds} s`, () => {
  let gateway: LoadedGateway;
  beforeEach(async () => {
    gateway = await LoadedGateway.start();
  });
  afterEach(() => gateway.stop());

  for (const [name, target, options] of modes) {
    it(`with ${name} leave others served, and memory flat`, async () => {
      const stopProbing = gateway.probe();
      const slow = spawn(
        'slowhttptest',
        [
          '-c',
          `${clients}`,
          '-r',
          `${rate}`,
          '-l',
          `${seconds}`,
          '-u',
          `${gateway.url}${target}`,
          ...options,
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      let said = '';
      slow.stdout.on('data', (text: Buffer) => {
        said += text.toString();
      });
      const over = once(slow, 'close');
      const residentBytes: number[] = [];
      let running = true;
      const sampling = (async () => {
        while (running) {
          residentBytes.push(gateway.residentBytes());
          await sleep(200);
        }
      })();
      await over;
      running = false;
      await sampling;
      const { failures, answered, longestMs } = await stopProbing();
      const third = Math.floor(residentBytes.length / 3);
      const middleBytes = Math.max(...residentBytes.slice(third, 2 * third));
      const lastBytes = Math.max(...residentBytes.slice(2 * third));
      const connected = Math.max(
        0,
        ...[...said.matchAll(/connected:\D*?(\d+)\s*$/gm)].map(([, n]) => Number(n)),
      );
      console.log(
        `      at most ${connected} connected; ${answered} others served, the slowest in ${longestMs} ms; ` +
          `resident ${(middleBytes / MiB).toFixed(0)} MiB, then ${(lastBytes / MiB).toFixed(0)} MiB`,
      );
      assert.deepEqual(failures, []);
      assert.equal(answered > 0, true);
      assert.equal(connected > 0, true, `slowhttptest says ${said}`);
      assert.doesNotMatch(said, /service available:\D*?NO/);
      assert.equal(lastBytes <= middleBytes * 1.1 + 16 * MiB, true, 'memory goes on growing');
      assert.equal(await gateway.terminate(), 0);
    });
  }
});
