import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

const program = fileURLToPath(new URL('./storing-server.ts', import.meta.url));
const message = z.union([
  z.object({ port: z.number() }),
  z.object({ begun: z.number() }),
  z.object({ stored: z.number() }),
]);

/** An upstream in a process of its own, which can be stopped and killed as a whole. */
export class UpstreamProcess {
  readonly #child: ChildProcess;
  /** Uploads whose first bytes have arrived there. */
  begun = 0;
  /** Uploads that it has whole. */
  stored = 0;
  #port = 0;
  #wake: (() => void)[] = [];
  readonly #ended: Promise<void>;

  static async start(): Promise<UpstreamProcess> {
    const upstream = new UpstreamProcess();
    await upstream.until(() => upstream.#port > 0);
    return upstream;
  }

  private constructor() {
    this.#child = fork(program, { execArgv: ['--import=tsx'] });
    this.#ended = new Promise((resolve) => this.#child.once('exit', () => resolve()));
    this.#child.on('message', (raw) => {
      const told = message.parse(raw);
      if ('port' in told) this.#port = told.port;
      else if ('begun' in told) this.begun = told.begun;
      else this.stored = told.stored;
      for (const wake of this.#wake.splice(0)) wake();
    });
  }

  get port(): number {
    return this.#port;
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(name);
  }

  /** Resolves when it is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}
