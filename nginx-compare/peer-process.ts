import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { accepts } from '../bench/measure/free-port.ts';

/** Of what a program printed that ended by itself. */
const mostSaidBytes = 4_000;

/** A program in the foreground that listens on a port of 127.0.0.1; what it prints is in a file. */
export class PeerProcess {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #file: string;

  /** @throws Error if it ends before it listens. */
  static async start(options: {
    readonly command: readonly [string, ...string[]];
    readonly port: number;
    /** Standard output and errors. */
    readonly file: string;
  }): Promise<PeerProcess> {
    const printed = await open(options.file, 'w');
    const [program, ...args] = options.command;
    const child = spawn(program, args, { stdio: ['ignore', printed.fd, printed.fd] });
    await once(child, 'spawn');
    await printed.close();
    const peer = new PeerProcess(child, options.file);
    await peer.#listening(options.port);
    return peer;
  }

  private constructor(child: ChildProcess, file: string) {
    this.#child = child;
    this.pid = child.pid ?? 0;
    this.#file = file;
  }

  /** Ends it as its operator would, so that it can take its own children along. */
  async stop(): Promise<void> {
    if (this.#over) {
      const { exitCode, signalCode } = this.#child;
      const said = (await readFile(this.#file, 'utf8')).slice(-mostSaidBytes);
      console.error(
        `${this.#child.spawnargs.join(' ')} has ended by itself (${signalCode ?? exitCode}): ${said}`,
      );
      return;
    }
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const patience = setTimeout(() => this.#child.kill('SIGKILL'), 2_000);
    await exit;
    clearTimeout(patience);
  }

  get #over(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  async #listening(port: number): Promise<void> {
    for (;;) {
      if (this.#over) {
        const said = await readFile(this.#file, 'utf8');
        throw new Error(`${this.#child.spawnargs.join(' ')} has ended: ${said.trim()}`);
      }
      if (await accepts(port)) {
        // Sluice binds its ports for a moment to see whether it can, long before it serves
        await sleep(200);
        if (await accepts(port)) return;
      }
      await sleep(20);
    }
  }
}
