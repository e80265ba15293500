import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { MiB } from '../../src/core/units.ts';
import { eventually } from '../support/eventually.ts';
import { RawClient } from '../support/raw-client.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { uploadHead, uploadsUnderWay } from '../support/test-gateway.ts';

const uploads = 20;
const chunkBytes = 4 * MiB;

/** Resident memory of a process, in bytes (proc(5)). */
function residentBytes(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kibibytes) * 1024;
}

describe('an upload into an upstream that does not read', () => {
  let folder: string;
  let upstream: ScriptedUpstream;
  let gateway: ChildProcess;
  const clients: RawClient[] = [];

  before(function () {
    // where there is no proc(5) there is nothing to measure
    if (process.platform !== 'linux') this.skip();
  });

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-memory-'));
    upstream = await ScriptedUpstream.start((connection) => connection.stopReading());
  });
  afterEach(async () => {
    for (const client of clients) client.destroy();
    gateway?.kill('SIGKILL');
    await upstream?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const [framing, field] of [
    ['of unknown length', 'Transfer-Encoding: chunked'],
    ['of known length', `Content-Length: ${1024 * MiB}`],
  ] as const) {
    it(`costs at most 8 MiB and holds at most two chunks (${framing}, ${uploads} at once)`, async function () {
      this.timeout(60_000);
      const file = join(folder, 'sluice.yaml');
      writeFileSync(
        file,
        `listen: [{ address: "127.0.0.1:0" }]
admin: { address: "127.0.0.1:0" }
upstream: { servers: ["http://127.0.0.1:${upstream.port}"], health: { interval: 0 } }
quota: { mode: off }
upload: { watch_interval: 0 }
`,
      );
      gateway = spawn(process.execPath, ['--import', 'tsx', 'src/main.ts', 'run', '-c', file], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      if (gateway.stdout === null) throw new Error('the gateway has no output');
      const [line] = (await once(createInterface(gateway.stdout), 'line')) as [string];
      gateway.stdout.resume();
      const { listen, admin } = JSON.parse(line) as { listen: string[]; admin: string };
      const port = Number(listen[0]?.split(':')[1]);
      const adminPort = Number(admin.split(':')[1]);
      const pid = gateway.pid ?? 0;

      const fill = async (): Promise<void> => {
        const client = await RawClient.connect(port);
        clients.push(client);
        await client.request(...uploadHead(randomUUID(), field));
        // more than anybody holds; what does not go is left in the socket
        const piece = Buffer.alloc(MiB, 'x');
        for (let sent = 0; sent < 24; sent += 1) {
          void (framing === 'of unknown length' ? client.chunk(piece) : client.write(piece));
        }
      };
      const settled = async (count: number): Promise<void> => {
        let before = '';
        await eventually(async () => {
          const rows = await uploadsUnderWay(adminPort);
          const now = JSON.stringify(rows.map((row) => row.received_bytes));
          const still =
            now === before && rows.length === count && rows.every((row) => row.received_bytes > 0);
          before = now;
          await new Promise((resolve) => setTimeout(resolve, 200));
          return still;
        }, 'nothing moves any more');
      };
      // one goes ahead: what the process allocates once is not what an upload costs
      await fill();
      await settled(1);
      const baseBytes = residentBytes(pid);
      await Promise.all(Array.from({ length: uploads }, fill));
      await settled(uploads + 1);

      const eachBytes = (residentBytes(pid) - baseBytes) / uploads;
      assert.equal(eachBytes <= 8 * MiB, true, `each upload costs ${eachBytes / MiB} MiB`);
      for (const row of await uploadsUnderWay(adminPort)) {
        const heldBytes = row.received_bytes - row.sent_bytes;
        assert.equal(heldBytes <= 2 * chunkBytes, true, `${heldBytes} bytes are held`);
      }
    });
  }
});
