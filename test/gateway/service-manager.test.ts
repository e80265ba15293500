import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { createLog } from '../../src/log.ts';
import { ServiceManager } from '../../src/service-manager.ts';
import { eventually } from '../support/eventually.ts';

/** The service manager's end of the socket, which Node cannot be: prints each datagram as a line of JSON. */
const listener = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print(json.dumps("listening"), flush=True)
while True:
    print(json.dumps(s.recv(4096).decode()), flush=True)
`;

function missing(...programs: readonly string[]): string[] {
  return programs.filter((program) => {
    try {
      execFileSync(program, ['--version'], { stdio: 'ignore' });
      return false;
    } catch {
      return true;
    }
  });
}

describe('what the service manager is told', () => {
  let folder: string;
  let socket: string;
  let child: ChildProcess;
  let lines: Interface;
  let told: string[];

  before(function () {
    const absent = missing('python3', 'systemd-notify');
    if (absent.length === 0) return;
    console.log(
      `      skipped, what the service manager is told: this machine has no ${absent.join(', no ')}`,
    );
    this.skip();
  });
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-notify-'));
    socket = join(folder, 'notify');
    child = spawn('python3', ['-c', listener, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
    assert.notEqual(child.stdout, null);
    told = [];
    if (child.stdout !== null) lines = createInterface(child.stdout);
    lines.on('line', (line) => told.push(JSON.parse(line)));
    await once(lines, 'line');
    told = [];
  });
  afterEach(async () => {
    child.kill();
    await once(child, 'close');
    rmSync(folder, { recursive: true });
  });

  /** The messages, without the question by which the program waits until they are taken. */
  const messages = (): string[] => told.filter((message) => message !== 'BARRIER=1');

  it('is that it serves, that it reloads and since when, that it serves again, that it stops, in this order', async () => {
    const manager = new ServiceManager(createLog('silent', { write: () => {} }), {
      ...process.env,
      NOTIFY_SOCKET: socket,
    });
    manager.ready();
    const askedUsec = process.hrtime.bigint() / 1000n;
    manager.reloading();
    manager.ready();
    manager.stopping();
    await eventually(() => messages().length === 4, 'four messages');
    const [ready, reloading = '', again, stopping] = messages();
    assert.deepEqual([ready, again, stopping], ['READY=1', 'READY=1', 'STOPPING=1']);
    const usec = /^RELOADING=1\nMONOTONIC_USEC=(\d+)$/.exec(reloading)?.[1];
    assert.notEqual(usec, undefined, reloading);
    assert.equal(BigInt(usec ?? 0) >= askedUsec, true, 'by the clock of the system');
    assert.equal(BigInt(usec ?? 0) <= process.hrtime.bigint() / 1000n, true, 'and not later than now');
  });
});

describe('a service manager that cannot be told anything', () => {
  it('is complained of once, and stops nothing', async () => {
    const lines: string[] = [];
    const log = createLog('warn', { write: (line: string) => lines.push(line) });
    const manager = new ServiceManager(log, { PATH: '/nowhere', NOTIFY_SOCKET: '/nowhere/notify' });
    manager.ready();
    manager.stopping();
    await manager.told;
    assert.equal(lines.length, 1);
  });

  it('is not told anything where none listens', async () => {
    const lines: string[] = [];
    const log = createLog('warn', { write: (line: string) => lines.push(line) });
    const manager = new ServiceManager(log, { PATH: '/nowhere' });
    manager.ready();
    await manager.told;
    assert.deepEqual(lines, []);
  });
});
