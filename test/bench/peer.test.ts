import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Peer, type PeerKind } from '../../bench/contenders/peer.ts';
import { ProcessUsage } from '../../bench/measure/process-usage.ts';
import { eventually } from '../support/eventually.ts';

/** A server with a worker that holds its standard error and outlives it, as nginx's do. */
const withWorker: PeerKind = {
  configuration: (port) => `
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' });
createServer((socket) => socket.on('error', () => {})).listen(${port}, '127.0.0.1');
`,
  command: (file) => [process.execPath, file],
};

const runs = (pid: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

describe('a proxy that is compared', () => {
  before(function () {
    if (process.platform !== 'linux') this.skip();
  });

  it('is stopped with all that it has started', async () => {
    const peer = await Peer.start(withWorker, 1);
    const pids = new ProcessUsage([peer.pid]).pids();
    assert.equal(pids.length, 2);
    await peer.stop();
    await eventually(() => !pids.some(runs), 'both have ended');
  });

  it('that ends at once tells what it said, without the name of its file', async () => {
    const broken: PeerKind = {
      configuration: () => `console.error(process.argv[1] + ': 3: wrong'); process.exit(1);`,
      command: (file) => [process.execPath, file],
    };
    await assert.rejects(Peer.start(broken, 1), { message: 'configuration: 3: wrong' });
  });
});
