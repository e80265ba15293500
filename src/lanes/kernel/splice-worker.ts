import { MessagePort, workerData } from 'node:worker_threads';
import { SharedMemory } from './shared-memory.ts';
import { SpliceLoop } from './splice-loop.ts';
import { Staging } from './staging.ts';

/** What the engine gives its worker. */
export interface WorkerStart {
  readonly slots: number;
  readonly memory: SharedArrayBuffer;
  readonly staging: SharedArrayBuffer;
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
    'staging' in data &&
    'port' in data &&
    'wake' in data &&
    typeof data.slots === 'number' &&
    typeof data.wake === 'number' &&
    data.memory instanceof SharedArrayBuffer &&
    data.staging instanceof SharedArrayBuffer &&
    data.port instanceof MessagePort
  ) {
    const { slots, memory, staging, port, wake } = data;
    return { slots, memory, staging, port, wake };
  }
  throw new Error('the worker of the splice lane was started without its data');
}

const { slots, memory, staging, port, wake } = startOf(workerData);
new SpliceLoop(new SharedMemory(slots, memory), new Staging(staging), port, wake).run();
port.close();
