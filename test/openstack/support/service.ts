import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { stackDirectory } from './stack.ts';

/** A service of the stack, to be stopped and started by a test. */
export class Service {
  readonly #name: 'keystone' | 'glance' | 'glance-quota' | 'glance-limits';

  constructor(name: 'keystone' | 'glance' | 'glance-quota' | 'glance-limits') {
    this.#name = name;
  }

  /** Sends a signal to all its processes. SIGSTOP leaves its connections open and unanswered. */
  async signal(signal: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): Promise<void> {
    const [pid] = (await readFile(join(stackDirectory, 'run', `${this.#name}.pid`), 'utf8')).split(' ');
    // each has a process group of its own
    process.kill(-Number(pid), signal);
  }

  /** Starts it, if it does not run, and waits until it answers. */
  async start(): Promise<void> {
    await promisify(execFile)(join(import.meta.dirname, '../stack/up.sh'));
  }
}
