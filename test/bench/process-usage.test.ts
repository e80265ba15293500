import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { ProcessUsage } from '../../bench/measure/process-usage.ts';
import { MiB } from '../../src/core/units.ts';

/** `burn` uses 0.3 s of CPU by its own count, most of it in user mode; the others let a thread or a process do it. */
const program = `
const { Worker } = require('node:worker_threads');
const { spawn } = require('node:child_process');
const burn = 'const used = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1e6; };' +
  'const from = used(); while (used() - from < 0.3) for (let i = 0; i < 1e6; i += 1) Math.sqrt(i);';
const held = [];
require('node:readline').createInterface(process.stdin).on('line', (line) => {
  const done = () => console.log('done');
  if (line === 'burn') { (0, eval)('{' + burn + '}'); done(); }
  if (line === 'thread') new Worker(burn, { eval: true }).once('exit', done);
  if (line === 'child') {
    const child = spawn(process.execPath, ['-e', burn + 'console.log(1); setInterval(() => {}, 1000)']);
    child.stdout.once('data', done);
    process.once('exit', () => child.kill('SIGKILL'));
  }
  if (line === 'ended child') spawn(process.execPath, ['-e', burn]).once('exit', done);
  if (line === 'hold') { held.push(Buffer.alloc(64 * 1024 * 1024, 'x')); done(); }
});
console.log('ready');
process.stdin.on('end', () => process.exit(0));
`;

describe('what a process uses, from /proc', () => {
  let child: ChildProcessByStdio<Writable, Readable, null>;
  let lines: AsyncIterableIterator<string>;
  let usage: ProcessUsage;
  const does = async (what: string): Promise<void> => {
    child.stdin.write(`${what}\n`);
    assert.equal((await lines.next()).value, 'done');
  };

  beforeEach(async function () {
    if (process.platform !== 'linux') this.skip();
    child = spawn(process.execPath, ['-e', program], { stdio: ['pipe', 'pipe', 'inherit'] });
    lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    await lines.next();
    usage = new ProcessUsage([child.pid ?? 0]);
  });
  afterEach(async () => {
    const closed = once(child, 'close');
    child.stdin.end();
    await closed;
  });

  for (const what of ['burn', 'thread', 'child', 'ended child']) {
    it(`counts CPU of ${what === 'burn' ? 'itself' : `its ${what}`}`, async () => {
      const before = usage.cpuSeconds();
      await does(what);
      // 0.3 s by the other's own count; two readings are each off by a tick of three counters at most
      assert.equal(usage.cpuSeconds() - before >= 0.3 - 0.06, true);
    });
  }

  it('is not counted for a process that has nothing to do with it', async () => {
    const stranger = new ProcessUsage([process.ppid]);
    const before = stranger.cpuSeconds();
    assert.equal(before > 0, true);
    assert.equal(new ProcessUsage([]).cpuSeconds(), 0);
    assert.equal(new ProcessUsage([]).residentBytes(), 0);
  });

  it('counts its resident memory', async () => {
    const before = usage.residentBytes();
    await does('hold');
    const grownBytes = usage.residentBytes() - before;
    assert.equal(grownBytes >= 60 * MiB && grownBytes <= 100 * MiB, true, `${grownBytes / MiB} MiB`);
  });

  it('is nothing when the process is gone', async () => {
    const gone = spawn(process.execPath, ['-e', '']);
    await once(gone, 'close');
    assert.equal(new ProcessUsage([gone.pid ?? 0]).cpuSeconds(), 0);
  });
});
