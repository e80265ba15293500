import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

const file = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));

/** What is run: the source as it stands, or what `npm run build` made of it. */
const programs = {
  source: ['--import', 'tsx', file('src/main.ts')],
  built: [file('dist/main.js')],
};

const lineSchema = z.looseObject({ msg: z.string() });
export type LogLine = z.infer<typeof lineSchema>;

/** `sluice run` as a process of its own. */
export class SluiceProcess {
  /** What it logged so far, oldest first. */
  readonly lines: LogLine[] = [];
  /** How it ended: its status, or the signal that killed it. */
  readonly ended: Promise<number | string>;
  readonly #child: ChildProcessByStdio<null, Readable, null>;
  #wake: (() => void)[] = [];
  #over = false;

  /** @param config its file; @param env added to this process's. */
  constructor(config: string, env: NodeJS.ProcessEnv = {}, program: keyof typeof programs = 'source') {
    this.#child = spawn(process.execPath, [...programs[program], 'run', '-c', config], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    createInterface(this.#child.stdout).on('line', (line) => {
      this.lines.push(lineSchema.parse(JSON.parse(line)));
      this.#woken();
    });
    this.ended = once(this.#child, 'close').then(([status, signal]) => {
      this.#over = true;
      this.#woken();
      return status ?? signal;
    });
  }

  /** Of the process; 0 where it could not be started. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** The `count`th line with this message. Rejects when the process ends without it. */
  async logged(msg: string, count = 1): Promise<LogLine> {
    for (;;) {
      const line = this.lines.filter((each) => each.msg === msg)[count - 1];
      if (line !== undefined) return line;
      if (this.#over) throw new Error(`the process ended without saying ${JSON.stringify(msg)}`);
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  /** For the end of a test. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }

  #woken(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}
