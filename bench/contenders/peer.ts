import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { accepts, freePort } from '../measure/free-port.ts';
import { ProcessUsage } from '../measure/process-usage.ts';

/** Lets a process of Node's collect its garbage on SIGUSR2, and say so. */
const collector = fileURLToPath(new URL('../../test/load/support/gc-on-signal.mjs', import.meta.url));
const mostSaidLetters = 2_000;

/** How one proxy is set up, and started in the foreground. */
export interface PeerKind {
  /** @param folder scratch of this proxy alone. */
  configuration(port: number, upstreamPort: number, folder: string): string;
  command(file: string, folder: string): readonly [string, ...string[]];
}

/** A proxy as a process of its own, before one upstream. */
export class Peer {
  readonly port: number;
  readonly #process: ChildProcessByStdio<null, Readable, Readable>;
  readonly #folder: string;
  readonly #ended: Promise<unknown>;
  /** The end of what it said on standard error. */
  #said = '';
  #collected: () => void = () => {};

  /** @throws Error with what it said, if it ends before it takes connections. */
  static async start(kind: PeerKind, upstreamPort: number): Promise<Peer> {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-peer-'));
    const port = await freePort();
    const file = join(folder, 'configuration.mjs');
    await writeFile(file, kind.configuration(port, upstreamPort, folder));
    const [program, ...args] = kind.command(file, folder);
    const child = spawn(program, args, {
      env: { ...process.env, NODE_OPTIONS: `--import=${collector}` },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const peer = new Peer(port, child, folder);
    try {
      await peer.#accepting();
    } catch (error) {
      await peer.stop();
      throw error;
    }
    return peer;
  }

  private constructor(port: number, child: ChildProcessByStdio<null, Readable, Readable>, folder: string) {
    this.port = port;
    this.#process = child;
    this.#folder = folder;
    this.#ended = new Promise((resolve) => child.once('exit', resolve).once('error', resolve));
    child.stderr.on('data', (text: Buffer) => {
      this.#said = `${this.#said}${text.toString()}`.slice(-mostSaidLetters);
    });
    createInterface(child.stdout).on('line', (line) => {
      if (line.includes('"garbage collected"')) this.#collected();
    });
  }

  /** 0 where it could not be started. */
  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** For a process of Node's only: others end on that signal. */
  async collectGarbage(): Promise<void> {
    const collected = new Promise<void>((resolve) => {
      this.#collected = resolve;
    });
    this.#process.kill('SIGUSR2');
    await Promise.race([collected, this.#ended]);
  }

  async stop(): Promise<void> {
    // nginx's workers outlive a master that is killed
    for (const pid of this.pid === 0 ? [] : new ProcessUsage([this.pid]).pids()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it has ended since
      }
    }
    await this.#ended;
    this.#process.stdout.destroy();
    this.#process.stderr.destroy();
    await rm(this.#folder, { recursive: true });
  }

  async #accepting(): Promise<void> {
    let ended = false;
    void this.#ended.then(() => {
      ended = true;
    });
    for (;;) {
      const connected = await accepts(this.port);
      if (ended) {
        throw new Error(
          this.#said.replaceAll(join(this.#folder, 'configuration.mjs'), 'configuration').trim() ||
            `${this.#process.spawnargs.join(' ')} has ended`,
        );
      }
      if (connected) return;
      await pause(20);
    }
  }
}
