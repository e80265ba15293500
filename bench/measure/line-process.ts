import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

/** A script of this folder as a process of its own, which is told lines and says lines. */
export class LineProcess {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: Interface;
  readonly #said: string[] = [];
  #wake: () => void = () => {};
  #over = false;

  constructor(script: string, args: readonly string[] = []) {
    const file = fileURLToPath(new URL(script, import.meta.url));
    this.#child = spawn(process.execPath, ['--import=tsx', file, ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    // told too late, a process that has ended is noticed by the line that it does not say
    this.#child.stdin.on('error', () => {});
    this.#lines = createInterface(this.#child.stdout);
    this.#lines.on('line', (line) => {
      this.#said.push(line);
      this.#wake();
    });
    this.#child.once('close', () => {
      this.#over = true;
      this.#wake();
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  tell(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  /** The next line. @throws Error when the process ends without it. */
  async line(): Promise<string> {
    for (;;) {
      const line = this.#said.shift();
      if (line !== undefined) return line;
      if (this.#over) throw new Error(`${this.#child.spawnargs.join(' ')} has ended`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async stop(): Promise<void> {
    if (this.#over) return;
    const closed = once(this.#child, 'close');
    this.#child.kill('SIGKILL');
    await closed;
  }
}
