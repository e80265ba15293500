import type { Awaited } from '../../core/waits.ts';

const awaitedNames = ['client', 'upstream', 'gateway'] as const satisfies readonly Awaited[];

/** Of each transfer, all as float64: a number of 8 bytes is never seen half written. */
const fields = {
  receivedBytes: 0,
  allowedBytes: 1,
  awaited: 2,
  sinceMs: 3,
  /** Three in a row, as `awaitedNames`. */
  waitedMs: 4,
  waitedBeforeMs: 7,
  lastByteMs: 8,
  rateDueMs: 9,
  rateLeftMs: 10,
  lotBytes: 11,
  sentBytes: 12,
  endReceived: 13,
} as const;
const fieldsPerTransfer = 16;

/** Pipes of the worker's that somebody has to close if it dies; more than these are lost then. */
const mostListedDescriptors = 16_384;

const heldCell = 0;
const mostHeldCell = 1;
const sharedFields = 8;

/**
 * What the thread of the kernel lane and the main thread both look at. Each field has one writer: `allowedBytes`,
 * `mostHeldBytes` and `stopped` the main thread, everything else the worker.
 */
export class SharedMemory {
  readonly buffer: SharedArrayBuffer;
  readonly #numbers: Float64Array;
  readonly #flags: Int32Array;
  readonly #descriptors: Int32Array;

  /** @param buffer of another thread's `SharedMemory`; a new one if left out. */
  constructor(slots: number, buffer?: SharedArrayBuffer) {
    const numbers = sharedFields + slots * fieldsPerTransfer;
    const integers = 2 + mostListedDescriptors;
    this.buffer = buffer ?? new SharedArrayBuffer(numbers * 8 + integers * 4);
    this.#numbers = new Float64Array(this.buffer, 0, numbers);
    const at = numbers * 8;
    this.#flags = new Int32Array(this.buffer, at, 2);
    this.#descriptors = new Int32Array(this.buffer, at + 8, mostListedDescriptors);
  }

  record(slot: number): TransferRecord {
    return new TransferRecord(this.#numbers, sharedFields + slot * fieldsPerTransfer);
  }

  /** Bytes in pipes and in the worker's memory. */
  get heldBytes(): number {
    return this.#numbers[heldCell] ?? 0;
  }

  set heldBytes(bytes: number) {
    this.#numbers[heldCell] = bytes;
  }

  /** From here on no frame is filled; 0 = no limit. */
  get mostHeldBytes(): number {
    return this.#numbers[mostHeldCell] ?? 0;
  }

  set mostHeldBytes(bytes: number) {
    this.#numbers[mostHeldCell] = bytes;
  }

  get stopped(): boolean {
    return Atomics.load(this.#flags, 0) === 1;
  }

  stop(): void {
    Atomics.store(this.#flags, 0, 1);
  }

  /** Notes a descriptor that the worker has opened, under a place of its own. */
  listDescriptor(place: number, fd: number | null): void {
    if (place < this.#descriptors.length) this.#descriptors[place] = fd === null ? 0 : fd + 1;
  }

  /** Those that the worker has open, for whoever comes after it. */
  *openDescriptors(): Iterable<number> {
    for (const listed of this.#descriptors) if (listed > 0) yield listed - 1;
  }
}

/** One transfer as both threads see it. Times are those of `monotonicMs`. */
export class TransferRecord {
  readonly #numbers: Float64Array;
  readonly #base: number;

  constructor(numbers: Float64Array, base: number) {
    this.#numbers = numbers;
    this.#base = base;
  }

  /** For a new transfer, before the worker hears of it. */
  begin(receivedBytes: number, allowedBytes: number, nowMs: number): void {
    this.#numbers.fill(0, this.#base, this.#base + fieldsPerTransfer);
    this.receivedBytes = receivedBytes;
    this.allowedBytes = allowedBytes;
    this.#set(fields.sinceMs, nowMs);
    this.lastByteMs = nowMs;
    this.rateDueMs = Infinity;
    this.rateLeftMs = Infinity;
  }

  get receivedBytes(): number {
    return this.#get(fields.receivedBytes);
  }
  set receivedBytes(bytes: number) {
    this.#set(fields.receivedBytes, bytes);
  }

  get endReceived(): boolean {
    return this.#get(fields.endReceived) === 1;
  }
  set endReceived(received: boolean) {
    this.#set(fields.endReceived, received ? 1 : 0);
  }

  get sentBytes(): number {
    return this.#get(fields.sentBytes);
  }
  set sentBytes(bytes: number) {
    this.#set(fields.sentBytes, bytes);
  }

  get allowedBytes(): number {
    return this.#get(fields.allowedBytes);
  }
  set allowedBytes(bytes: number) {
    this.#set(fields.allowedBytes, bytes);
  }

  /** When the source was last heard of, or its time began anew. */
  get lastByteMs(): number {
    return this.#get(fields.lastByteMs);
  }
  set lastByteMs(ms: number) {
    this.#set(fields.lastByteMs, ms);
  }

  /** When the client is too slow, if nothing more comes; Infinity while its time does not run. */
  get rateDueMs(): number {
    return this.#get(fields.rateDueMs);
  }
  set rateDueMs(ms: number) {
    this.#set(fields.rateDueMs, ms);
  }

  /** What the client had left when its time last stopped. */
  get rateLeftMs(): number {
    return this.#get(fields.rateLeftMs);
  }
  set rateLeftMs(ms: number) {
    this.#set(fields.rateLeftMs, ms);
  }

  get lotBytes(): number {
    return this.#get(fields.lotBytes);
  }
  set lotBytes(bytes: number) {
    this.#set(fields.lotBytes, bytes);
  }

  get awaited(): Awaited {
    return awaitedNames[this.#get(fields.awaited)] ?? 'client';
  }

  /** As `Waits.turnTo`. */
  turnTo(awaited: Awaited, nowMs: number): void {
    const index = this.#get(fields.awaited);
    const field = fields.waitedMs + index;
    this.#set(field, this.#get(field) + nowMs - this.#get(fields.sinceMs));
    this.#set(fields.sinceMs, nowMs);
    this.#set(fields.awaited, awaitedNames.indexOf(awaited));
  }

  /** As `Waits.ofMs`. Seen from the other thread in the middle of a turn it may be off: look twice before you blame. */
  waitedMs(awaited: Awaited, nowMs: number): number {
    const index = awaitedNames.indexOf(awaited);
    const current = this.#get(fields.awaited) === index ? nowMs - this.#get(fields.sinceMs) : 0;
    return this.#get(fields.waitedMs + index) + current;
  }

  /** A chunk is through: the next one has the whole time of the upstream. */
  beginChunk(nowMs: number): void {
    this.#set(fields.waitedBeforeMs, this.waitedMs('upstream', nowMs));
  }

  /** How long the upstream was waited for since the chunk under way began. */
  chunkWaitedMs(nowMs: number): number {
    return this.waitedMs('upstream', nowMs) - this.#get(fields.waitedBeforeMs);
  }

  #get(field: number): number {
    return this.#numbers[this.#base + field] ?? 0;
  }

  #set(field: number, value: number): void {
    this.#numbers[this.#base + field] = value;
  }
}
