import type { LaneName } from './lane.ts';

/** Where bytes are counted while they move, in another thread. */
export interface Counted {
  /** The client's last byte, and what tells its end, have been read. */
  readonly endReceived: boolean;
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

/** Counters of one upload, in bytes of its body. Written by the lane while bytes move, read by anyone. */
export class Progress {
  /** How the bytes are moved: what its lane could not do, another did. */
  lane: LaneName = 'stream';
  /** All of the body and its end are with the upstream's kernel: it may be taken for whole. Set when the lane settles. */
  endSent = false;
  #endReceived = false;
  #receivedBytes = 0;
  #sentBytes = 0;
  #counted: Counted | null = null;

  /** Known of bodies that are counted elsewhere only: else the request itself tells. */
  get endReceived(): boolean {
    return this.#counted?.endReceived ?? this.#endReceived;
  }

  /** Read from the client. */
  get receivedBytes(): number {
    return this.#counted?.receivedBytes ?? this.#receivedBytes;
  }

  set receivedBytes(bytes: number) {
    this.#receivedBytes = bytes;
  }

  /** Written to the upstream's socket. */
  get sentBytes(): number {
    return this.#counted?.sentBytes ?? this.#sentBytes;
  }

  set sentBytes(bytes: number) {
    this.#sentBytes = bytes;
  }

  /** What is counted elsewhere is shown from now on, until null; then the last of it stays. */
  follow(counted: Counted | null): void {
    const { endReceived, receivedBytes, sentBytes } = this;
    this.#endReceived = endReceived;
    this.#receivedBytes = receivedBytes;
    this.#sentBytes = sentBytes;
    this.#counted = counted;
  }
}
