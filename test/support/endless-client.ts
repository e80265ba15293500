import { Worker } from 'node:worker_threads';

/**
 * Writes a head and then zeros, as fast as they are taken, in a thread of its own: whoever waits for something else in this one
 * does not slow it down.
 */
export class EndlessClient {
  readonly #worker: Worker;

  /** @param lines of the head. */
  constructor(port: number, lines: readonly string[]) {
    this.#worker = new Worker(program, {
      eval: true,
      workerData: { port, head: [...lines, '', ''].join('\r\n') },
    });
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }
}

const program = `
  const { workerData } = require('node:worker_threads');
  const socket = require('node:net').connect({ port: workerData.port, host: '127.0.0.1' });
  const zeros = Buffer.alloc(1024 * 1024);
  const push = () => {
    while (socket.write(zeros));
  };
  socket.on('error', () => {});
  socket.on('drain', push);
  socket.write(workerData.head);
  push();
`;
