import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { MiB } from '../../src/core/units.ts';
import { LoadedGateway } from './support/loaded-gateway.ts';

const long = process.env.SLUICE_LOAD === 'long';
const clients = long ? 4_000 : 500;
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
      let said = '';
      /** Once for the whole time; again and again where clients are answered before it is over. */
      const attack = async (): Promise<void> => {
        const endMs = performance.now() + seconds * 1000;
        for (let leftMs = seconds * 1000; leftMs > 1000; leftMs = endMs - performance.now()) {
          const command = ['-c', `${clients}`, '-r', `${rate}`, '-l', `${Math.ceil(leftMs / 1000)}`];
          const slow = spawn('slowhttptest', [...command, '-u', `${gateway.url}${target}`, ...options], {
            stdio: ['ignore', 'pipe', 'inherit'],
          });
          slow.stdout.on('data', (text: Buffer) => {
            said += stripVTControlCharacters(text.toString());
          });
          await once(slow, 'close');
        }
      };
      const residentBytes: number[] = [];
      let running = true;
      const sampling = (async () => {
        while (running) {
          residentBytes.push(gateway.residentBytes());
          await sleep(200);
        }
      })();
      await attack();
      running = false;
      await sampling;
      const { failures, answered, longestMs } = await stopProbing();
      const third = Math.floor(residentBytes.length / 3);
      const middleBytes = Math.max(...residentBytes.slice(third, 2 * third));
      const lastBytes = Math.max(...residentBytes.slice(2 * third));
      const connected = [...said.matchAll(/connected: +(\d+)/g)].map(([, count]) => Number(count));
      // who is not slow enough is answered at once, and connected at no time that is looked at
      const requests = (await gateway.requestsAnswered()) - answered;
      const available = [...said.matchAll(/service available: +(\w+)/g)].map(([, word]) => word);
      console.log(
        `      ${answered} others served, the slowest in ${longestMs} ms; ` +
          `resident ${(middleBytes / MiB).toFixed(0)} MiB, then ${(lastBytes / MiB).toFixed(0)} MiB; ` +
          `slowhttptest: ${available.join(' ')}`,
      );
      assert.deepEqual(failures, []);
      assert.equal(answered > 0, true);
      assert.equal(Math.max(requests, ...connected) >= clients, true, `slowhttptest says ${said}`);
      assert.deepEqual(new Set(available), new Set(['YES']), 'as slowhttptest sees it');
      assert.equal(lastBytes <= middleBytes * 1.1 + 16 * MiB, true, 'memory goes on growing');
      assert.equal(await gateway.terminate(), 0);
    });
  }
});
