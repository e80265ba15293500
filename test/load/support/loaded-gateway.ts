import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { z } from 'zod';
import type { WrittenOptions } from '../../../src/config/options.ts';
import { SluiceProcess } from '../../support/sluice-process.ts';

const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const servingSchema = z.looseObject({ listen: z.array(z.string()), admin: z.string() });
const probedSchema = z.object({ answered: z.number(), failures: z.array(z.string()), longestMs: z.number() });

/** What a prober saw. */
export type Probed = z.output<typeof probedSchema>;

type Child = ChildProcessByStdio<Writable, Readable, null>;

/** A gateway, its API, and whoever asks whether it still serves: each a process of its own. */
export class LoadedGateway {
  readonly port: number;
  readonly adminPort: number;
  readonly #sluice: SluiceProcess;
  readonly #children: Child[];
  readonly #folder: string;
  #collections = 0;

  static async start(more: WrittenOptions = {}): Promise<LoadedGateway> {
    const api = runScript('api-process.ts');
    const [apiPort]: unknown[] = await once(createInterface(api.stdout), 'line');
    const folder = mkdtempSync(join(tmpdir(), 'sluice-load-'));
    const written: WrittenOptions = {
      listen: [{ address: '127.0.0.1:0' }],
      admin: { address: '127.0.0.1:0' },
      upstream: { servers: [`http://127.0.0.1:${String(apiPort)}`] },
      identity: { source: 'none' },
      quota: { mode: 'off', usage: { source: 'none' } },
      log: { access: false },
      ...more,
    };
    writeFileSync(join(folder, 'sluice.yaml'), stringify(written));
    // tsx gives every function a property more, which is 8 KiB for each upload
    const sluice = new SluiceProcess(
      join(folder, 'sluice.yaml'),
      { NODE_OPTIONS: `--import=${file('gc-on-signal.mjs')}` },
      'built',
    );
    const { listen, admin } = servingSchema.parse(await sluice.logged('serving'));
    return new LoadedGateway(sluice, [api], folder, portOf(listen[0] ?? ''), portOf(admin));
  }

  private constructor(
    sluice: SluiceProcess,
    children: Child[],
    folder: string,
    port: number,
    adminPort: number,
  ) {
    this.#sluice = sluice;
    this.#children = children;
    this.#folder = folder;
    this.port = port;
    this.adminPort = adminPort;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Resident memory of the gateway, in bytes (proc(5)). */
  residentBytes(): number {
    const status = readFileSync(`/proc/${this.#sluice.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  }

  /** The same when its garbage is collected. */
  async residentBytesOfLive(): Promise<number> {
    this.#collections += 1;
    this.#sluice.signal('SIGUSR2');
    await this.#sluice.logged('garbage collected', this.#collections);
    return this.residentBytes();
  }

  /** Requests that the gateway has answered until now, health checks of its own not among them. */
  async requestsAnswered(): Promise<number> {
    const metrics = await (await fetch(`http://127.0.0.1:${this.adminPort}/metrics`)).text();
    const counts = [...metrics.matchAll(/^sluice_requests_total\{.*\} (\d+)$/gm)];
    return counts.reduce((sum, [, count]) => sum + Number(count), 0);
  }

  /** Asks for a page every 100 ms from now on. @returns stops it. */
  probe(): () => Promise<Probed> {
    const prober = runScript('prober-process.ts', `${this.url}/v2/images`);
    this.#children.push(prober);
    const said = once(createInterface(prober.stdout), 'line');
    return async () => {
      prober.stdin.end();
      const [line]: unknown[] = await said;
      return probedSchema.parse(JSON.parse(String(line)));
    };
  }

  /** Resolves with the status with which the gateway ends when it is asked to. */
  async terminate(): Promise<number | string> {
    this.#sluice.signal('SIGTERM');
    return await this.#sluice.ended;
  }

  async stop(): Promise<void> {
    await this.#sluice.kill();
    for (const child of this.#children) child.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true });
  }
}

function runScript(name: string, ...args: string[]): Child {
  return spawn(process.execPath, ['--import', 'tsx', file(name), ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}

function portOf(address: string): number {
  return Number(address.split(':').at(-1));
}
