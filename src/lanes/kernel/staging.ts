import { KiB } from '../../core/units.ts';

/** As much as Node reads of a socket at once (libuv), so that what came with a head fits. */
const blockBytes = 64 * KiB;

/** Each is used for as long as it takes to move its bytes into a pipe. */
const blocks = 64;

const freed = 0;
const taken = 1;

/**
 * Memory in which one thread leaves bytes for another. A message would copy them into memory that is the other thread's
 * garbage, 64 KiB for each upload until 64 MiB are worth a collection (measured: 36 to 49 KiB resident for each of 1,000).
 */
export class Staging {
  readonly memory: SharedArrayBuffer;
  /** One word a block; claimed by the one side, freed by the other. */
  readonly #states: Int32Array;
  readonly #bytes: Uint8Array;

  /** @param memory of another thread's `Staging`; new if left out. */
  constructor(memory?: SharedArrayBuffer) {
    this.memory = memory ?? new SharedArrayBuffer(blocks * (blockBytes + Int32Array.BYTES_PER_ELEMENT));
    this.#bytes = new Uint8Array(this.memory, 0, blocks * blockBytes);
    this.#states = new Int32Array(this.memory, blocks * blockBytes, blocks);
  }

  get takenBlocks(): number {
    return this.#states.filter((_, block) => Atomics.load(this.#states, block) === taken).length;
  }

  /** The block that has a copy of the bytes now, until `free`; null where they do not fit, or all blocks are taken. */
  put(bytes: Uint8Array): number | null {
    if (bytes.length > blockBytes) return null;
    // the lowest first: pages that were never needed are never touched
    const block = this.#states.findIndex((_, at) => Atomics.load(this.#states, at) === freed);
    if (block < 0) return null;
    Atomics.store(this.#states, block, taken);
    this.#bytes.set(bytes, block * blockBytes);
    return block;
  }

  /** The bytes themselves: not to be looked at after `free`. */
  bytes(block: number, length: number): Uint8Array {
    return this.#bytes.subarray(block * blockBytes, block * blockBytes + length);
  }

  free(block: number): void {
    Atomics.store(this.#states, block, freed);
  }
}
