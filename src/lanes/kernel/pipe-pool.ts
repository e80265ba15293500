import { MiB } from '../../core/units.ts';
import type { Libc } from './libc.ts';
import type { SharedMemory } from './shared-memory.ts';

/** As much as an unprivileged user may ask for (`/proc/sys/fs/pipe-max-size`). */
const wantedBytes = MiB;

/** Empty pipes that are kept. A user without privileges owns 64 of this size before the kernel gives smaller ones. */
const mostIdle = 16;

/** Two descriptors of the kernel's, and bytes on their way through them. */
export interface Pipe {
  readonly read: number;
  readonly write: number;
  /** At most; it may be full before, when the bytes came in small pieces. */
  readonly roomBytes: number;
  /** Bytes in it now. Kept by whoever has it. */
  heldBytes: number;
  readonly place: number;
}

/** Pipes for all transfers: each has one only while bytes are in it. */
export class PipePool {
  readonly #libc: Libc;
  readonly #memory: SharedMemory;
  readonly #idle: Pipe[] = [];
  readonly #freePlaces: number[] = [];
  #places = 1;
  #open = 0;

  /** Place 0 of the list of descriptors is not the pool's. */
  constructor(libc: Libc, memory: SharedMemory) {
    this.#libc = libc;
    this.#memory = memory;
  }

  /** Pipes that exist, idle ones included. */
  get open(): number {
    return this.#open;
  }

  /** An empty pipe, or the negative `errno` where there can be no other. */
  take(): Pipe | number {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    const made = this.#libc.pipe();
    if (typeof made === 'number') return made;
    const [read, write] = made;
    const given = this.#libc.setPipeBytes(read, wantedBytes);
    const place = this.#freePlaces.pop() ?? this.#places++;
    this.#memory.listDescriptor(2 * place, read);
    this.#memory.listDescriptor(2 * place + 1, write);
    this.#open += 1;
    // the kernel's default is 16 pages, and 1 or 2 for a user who has too many
    return { read, write, roomBytes: given > 0 ? given : 4096, heldBytes: 0, place };
  }

  /** Takes a pipe back; one with bytes in it is closed, and they are gone. */
  giveBack(pipe: Pipe): void {
    if (pipe.heldBytes === 0 && this.#idle.length < mostIdle) this.#idle.push(pipe);
    else this.#close(pipe);
  }

  close(): void {
    for (const pipe of this.#idle.splice(0)) this.#close(pipe);
  }

  #close({ read, write, place }: Pipe): void {
    this.#libc.close(read);
    this.#libc.close(write);
    this.#memory.listDescriptor(2 * place, null);
    this.#memory.listDescriptor(2 * place + 1, null);
    this.#freePlaces.push(place);
    this.#open -= 1;
  }
}
