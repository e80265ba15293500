import {
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  Worker,
  type WorkerOptions,
} from 'node:worker_threads';
import { EMFILE, ENFILE, Libc } from './libc.ts';
import { monotonicMs } from './monotonic.ts';
import type { Order, Prefix, Report, TransferOrder } from './orders.ts';
import { SharedMemory, type TransferRecord } from './shared-memory.ts';
import type { WorkerStart } from './splice-worker.ts';
import { Staging } from './staging.ts';

/** Transfers at once; each costs 128 bytes of shared memory. What comes beyond them goes another way. */
const slots = 8_192;

/** A transfer costs two descriptors, four with bytes in its pipe. This part of those that the process may have is the most. */
const descriptorPart = 1 / 4;
const descriptorsPerTransfer = 4;

/** Its descriptors are those of two sockets. Who owns them reads no byte of the source and writes none to the sink until `ended`. */
export interface TransferRequest extends Omit<TransferOrder, 'kind' | 'slot' | 'prefix'> {
  /** Bytes of the body that were read already; they go first. Copied. */
  readonly prefix: Uint8Array;
  readonly allowedBytes: number;
  /** More bytes are there than are allowed: `allow` answers. */
  readonly onMore: () => void;
}

/** How a transfer ended, and how far a chunked source was read; null for one of known length. */
export type Ended = Pick<Extract<Report, { kind: 'ended' }>, 'end' | 'position'>;

/** A transfer as the main thread has it. */
export interface RunningTransfer {
  readonly record: TransferRecord;
  /**
   * Resolves when the worker has let go of both sockets; `null` where the worker died with it. `sent` also where it was
   * cancelled too late.
   */
  readonly ended: Promise<Ended | null>;
  allow(bytes: number): void;
  /** The gate before the end has opened. */
  look(): void;
  cancel(): void;
}

interface Slot {
  readonly source: number;
  readonly sink: number;
  readonly onMore: () => void;
  readonly resolve: (ended: Ended | null) => void;
}

/** The kernel lane's thread, and the way to it. One for a process. */
export class SpliceEngine {
  readonly #libc: Libc;
  readonly #memory = new SharedMemory(slots);
  readonly #staging = new Staging();
  readonly #port: MessagePort;
  readonly #worker: Worker;
  readonly #wake: number;
  readonly #running = new Map<number, Slot>();
  readonly #free: number[] = [];
  readonly #most: number;
  #next = 0;
  #alive = true;
  readonly #onDeath = new Set<(reason: string) => void>();

  /**
   * Resolves when the thread runs.
   * @throws Error with a reason for operators where there can be none: another system than Linux, another C library than
   *   glibc, no koffi for this machine.
   */
  static async start(): Promise<SpliceEngine> {
    if (process.platform !== 'linux')
      throw new Error(`splice(2) is a system call of Linux, this is ${process.platform}`);
    const engine = new SpliceEngine();
    await engine.#ready;
    return engine;
  }

  readonly #ready: Promise<void>;

  private constructor() {
    this.#libc = new Libc();
    this.#wake = this.#libc.eventfd();
    if (this.#wake < 0) throw new Error(`eventfd: errno ${-this.#wake}`);
    this.#most = Math.min(
      slots,
      Math.floor((this.#libc.mostDescriptors() * descriptorPart) / descriptorsPerTransfer),
    );
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const start: WorkerStart = {
      slots,
      memory: this.#memory.buffer,
      staging: this.#staging.memory,
      port: port2,
      wake: this.#wake,
    };
    this.#worker = newWorker({ workerData: start, transferList: [port2], name: 'sluice-splice' });
    this.#ready = new Promise((resolve, reject) => {
      this.#worker.once('error', (error) => this.#died(error.message));
      this.#worker.once('exit', () => this.#died('its thread ended'));
      this.#onDeath.add((reason) => reject(new Error(reason)));
      this.#port.on('message', (report: Report) => {
        if (report.kind === 'ready') resolve();
        else this.#take(report);
      });
    });
    // from then on neither keeps the process alive: what is under way is kept so by its sockets
    this.#ready
      .finally(() => {
        this.#worker.unref();
        this.#port.unref();
      })
      .catch(() => {});
    // Node waits for the thread at its end, and the thread waits in the kernel
    process.once('exit', this.#stop);
  }

  /** Bytes in pipes and in the thread's memory. */
  get heldBytes(): number {
    return this.#alive ? this.#memory.heldBytes : 0;
  }

  /** Blocks of first bytes that are not in a pipe yet. */
  get stagedBlocks(): number {
    return this.#staging.takenBlocks;
  }

  /** From this many held bytes on no frame is filled; 0 = no limit. */
  set mostHeldBytes(bytes: number) {
    this.#memory.mostHeldBytes = bytes;
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** Transfers under way. */
  get running(): number {
    return this.#running.size;
  }

  /** Told once, with the reason, when the thread is dead. The result is for who no longer wants to know. */
  onDeath(listener: (reason: string) => void): () => void {
    if (this.#alive) this.#onDeath.add(listener);
    return () => this.#onDeath.delete(listener);
  }

  /** Null where there is no room: of slots, or of descriptors; nothing has happened then. */
  begin(request: TransferRequest): RunningTransfer | null {
    if (!this.#alive || this.#running.size >= this.#most) return null;
    const source = this.#libc.dup(request.source);
    if (source < 0) return this.#noRoom(source);
    const sink = this.#libc.dup(request.sink);
    if (sink < 0) {
      this.#libc.close(source);
      return this.#noRoom(sink);
    }
    const slot = this.#free.pop() ?? this.#next++;
    const record = this.#memory.record(slot);
    record.begin(request.prefix.length, request.allowedBytes, monotonicMs());
    let resolve = (_: Ended | null): void => {};
    const ended = new Promise<Ended | null>((done) => {
      resolve = done;
    });
    const running: Slot = { source, sink, onMore: request.onMore, resolve };
    this.#running.set(slot, running);
    const { body, gate, chunkBytes, leastRate } = request;
    const prefix = this.#leave(request.prefix);
    this.#order({ kind: 'begin', slot, source, sink, body, prefix, gate, chunkBytes, leastRate });
    // the slot may be another's by now, and so may the numbers of the descriptors
    const isMine = (): boolean => this.#running.get(slot) === running;
    return {
      record,
      ended,
      allow: (bytes) => {
        if (!isMine()) return;
        record.allowedBytes = bytes;
        this.#order({ kind: 'look', slot });
      },
      look: () => {
        if (isMine()) this.#order({ kind: 'look', slot });
      },
      cancel: () => {
        if (isMine()) this.#order({ kind: 'cancel', slot });
      },
    };
  }

  /** Ends the thread in the middle of whatever it does, as a defect would. */
  async kill(): Promise<void> {
    const terminated = this.#worker.terminate();
    this.#libc.signal(this.#wake);
    await terminated;
  }

  #leave(bytes: Uint8Array): Prefix {
    const block = bytes.length > 0 ? this.#staging.put(bytes) : null;
    // a message takes all of the memory under what it is given
    return block === null ? new Uint8Array(bytes) : { block, bytes: bytes.length };
  }

  #order(order: Order): void {
    this.#port.postMessage(order);
    this.#libc.signal(this.#wake);
  }

  #noRoom(error: number): null {
    if (error === EMFILE || error === ENFILE) return null;
    throw new Error(`dup: errno ${-error}`);
  }

  #take(report: Exclude<Report, { kind: 'ready' }>): void {
    const running = this.#running.get(report.slot);
    if (running === undefined) return;
    if (report.kind === 'more') return running.onMore();
    this.#running.delete(report.slot);
    running.resolve(report);
    // whoever waits for the end reads the counts when this turn is over, and the next transfer begins them anew
    setImmediate(() => this.#free.push(report.slot));
  }

  readonly #stop = (): void => {
    this.#memory.stop();
    this.#libc.signal(this.#wake);
  };

  #died(reason: string): void {
    if (!this.#alive) return;
    this.#alive = false;
    process.off('exit', this.#stop);
    // what it has still said is true: descriptors that it closed may have been given out again
    for (;;) {
      const received = receiveMessageOnPort(this.#port);
      if (received === undefined) break;
      this.#take(received.message);
    }
    // the thread is gone, and what it had open is the process's still
    for (const fd of this.#memory.openDescriptors()) this.#libc.close(fd);
    for (const { source, sink, resolve } of this.#running.values()) {
      this.#libc.close(source);
      this.#libc.close(sink);
      resolve(null);
    }
    this.#running.clear();
    this.#libc.close(this.#wake);
    this.#port.close();
    for (const listener of this.#onDeath) listener(reason);
    this.#onDeath.clear();
  }
}

function newWorker(options: WorkerOptions): Worker {
  if (!import.meta.url.endsWith('.ts'))
    return new Worker(new URL('./splice-worker.js', import.meta.url), options);
  // run from its sources, as tests do: a thread does not inherit what makes the process understand them
  const loader = JSON.stringify(import.meta.resolve('tsx/esm/api'));
  const file = JSON.stringify(new URL('./splice-worker.ts', import.meta.url));
  const begin = `import(${loader}).then(({ register }) => { register(); return import(${file}); })`;
  return new Worker(begin, { ...options, eval: true });
}
