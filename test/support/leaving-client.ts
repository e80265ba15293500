import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

const program = `
const socket = require('net').connect(Number(process.argv[1]), '127.0.0.1');
socket.on('error', () => {});
socket.write(process.argv[2].replaceAll('|', '\\r\\n'));
socket.write(Buffer.alloc(Number(process.argv[3])));
`;

/** A client in a process of its own, which sends a head and some bytes of a body, and then only waits. */
export class LeavingClient {
  readonly #child: ChildProcess;

  /** @param head lines, without the empty one at the end. */
  constructor(port: number, head: readonly string[], bodyBytes: number) {
    this.#child = spawn(process.execPath, [
      '-e',
      program,
      String(port),
      [...head, '', ''].join('|'),
      String(bodyBytes),
    ]);
  }

  /** Resolves when it is gone. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }
}
