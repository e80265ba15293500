import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { z } from 'zod';

/** What the upstream does with every request. */
export interface Haste {
  readonly status: number;
  readonly says: string;
  /** At least so much of the body is read before the answer. */
  readonly readsBytes: number;
  /** At once after the answer: an ordinary close, which the kernel makes a reset as soon as something is unread, or a reset. */
  readonly departure: 'closes' | 'resets';
  /** What GET is answered with, 200 and in peace; left out: like every other request. */
  readonly toGet?: string;
}

/**
 * An upstream that refuses and is gone. It is a process of its own: one in the process of the gateway shares its event
 * loop, so that its answer and its reset never arrive between two turns of the gateway's.
 */
export class HastyUpstream {
  readonly port: number;
  readonly #process: ChildProcess;

  static async start(haste: Haste): Promise<HastyUpstream> {
    const child = fork(new URL('hasty-server.ts', import.meta.url), [JSON.stringify(haste)]);
    const [port] = await once(child, 'message');
    return new HastyUpstream(z.number().parse(port), child);
  }

  private constructor(port: number, process: ChildProcess) {
    this.port = port;
    this.#process = process;
  }

  async stop(): Promise<void> {
    const exit = once(this.#process, 'exit');
    this.#process.disconnect();
    await exit;
  }
}
