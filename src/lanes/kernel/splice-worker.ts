import { MessagePort, workerData } from 'node:worker_threads';
import { SharedMemory } from './shared-memory.ts';
import { SpliceLoop } from './splice-loop.ts';

/** What the engine gives its worker. */
export interface WorkerStart {
  readonly slots: number;
  readonly memory: SharedArrayBuffer;
  readonly port: MessagePort;
  /** An eventfd that tells of orders. */
  readonly wake: number;
}

function startOf(data: unknown): WorkerStart {
  if (
    typeof data === 'object' &&
    data !== null &&
    'slots' in data &&
    'memory' in data &&
    'port' in data &&
    'wake' in data &&
    typeof data.slots === 'number' &&
    typeof data.wake === 'number' &&
    data.memory instanceof SharedArrayBuffer &&
    data.port instanceof MessagePort
  ) {
    return { slots: data.slots, memory: data.memory, port: data.port, wake: data.wake };
  }
  throw new Error('the worker of the splice lane was started without its data');
}

const { slots, memory, port, wake } = startOf(workerData);
new SpliceLoop(new SharedMemory(slots, memory), port, wake).run();
port.close();
