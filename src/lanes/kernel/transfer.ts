import { longerThanAllowed, longerThanDeclared, shorterThanDeclared } from '../../core/body-error.ts';
import { type ChunkPosition, ChunkReader, readChunks } from '../../core/chunk-reader.ts';
import { EndGate } from '../../core/end-gate.ts';
import { GatewayError } from '../../core/errors.ts';
import { RateWatch } from '../../core/least-rate.ts';
import { silenceMs } from '../../core/silence.ts';
import { KiB } from '../../core/units.ts';
import type { Awaited } from '../../core/waits.ts';
import { EAGAIN, EINTR, type Libc } from './libc.ts';
import type { Body, TransferEnd, TransferOrder } from './orders.ts';
import type { Pipe, PipePool } from './pipe-pool.ts';
import type { TransferRecord } from './shared-memory.ts';
import type { Staging } from './staging.ts';

/** After so many system calls that moved bytes the others have their turn. */
const mostMoves = 4;

/**
 * After so many bytes that were taken apart in memory the others have their turn as well: of chunks of one byte that is the work
 * of thousands of system calls.
 */
const mostTakenApartBytes = 64 * KiB;

/** Chunks of the client below this are copied, many at a time: two system calls for each would cost more. */
const smallChunkBytes = 8 * KiB;

/** Asked for beyond the data that is wanted, for the framing among it: so much, and this part of the data. */
const framingBytes = 64;
const framingPart = 1 / KiB;

/** Pipes for one frame. What comes in small packets fills a pipe long before its room in bytes is taken. */
const mostPipes = 8;

const nothing = new Uint8Array(0);
const crlf = Buffer.from('\r\n');
const lastChunk = Buffer.from('0\r\n\r\n');

/** Read into and decoded at once, by one transfer at a time. */
const scratch = Buffer.alloc(mostTakenApartBytes);

/** Of its beginning, by length: one is made faster than it is read, but not for each chunk. */
const framingViews = Array.from({ length: framingBytes + 1 }, (_, bytes) => scratch.subarray(0, bytes));

/** What a transfer needs of the thread it runs in. */
export interface TransferHost {
  readonly libc: Libc;
  readonly pipes: PipePool;
  readonly staging: Staging;
  /** An empty pipe, for as long as a turn; null where there can be none now. Whoever uses it leaves it empty. */
  intake(): Pipe | null;
  /** Of this turn of the loop. */
  readonly nowMs: number;
  /** So many bytes may not be held any more: no frame is filled. */
  readonly crowded: boolean;
  /** So many may be brought in at once: up to the bound, and a block where it is met. */
  readonly roomBytes: number;
  /** Calls `flush` then, unless that frame is on its way already. */
  flushAt(transfer: Transfer, dueMs: number): void;
  /** Calls `look` when a pipe may be had again. */
  awaitPipe(transfer: Transfer): void;
  /** More bytes are there than are allowed. */
  askForMore(slot: number): void;
  countHeld(bytes: number): void;
}

/** Bytes of a known number: no framing to read. */
class LengthReader {
  dataBytes: number;

  constructor(bytes: number) {
    this.dataBytes = bytes;
  }

  get done(): boolean {
    return this.dataBytes === 0;
  }

  took(bytes: number): void {
    this.dataBytes -= bytes;
  }
}

/**
 * One body on its way from socket to socket through pipes. Pushed on by `step` when one of the sockets has become ready (edge
 * triggered: each is used until it says EAGAIN), when more is allowed, or when a frame has waited long enough.
 */
export class Transfer {
  readonly slot: number;
  readonly source: number;
  readonly sink: number;
  readonly record: TransferRecord;
  /** It is in the queue of those that have more to do. */
  queued = false;
  #end: TransferEnd | null = null;
  readonly #host: TransferHost;
  readonly #body: Body;
  #reader: ChunkReader | LengthReader;
  readonly #gate: EndGate | null;
  readonly #rate: RateWatch | null;
  readonly #chunkBytes: number;

  #sourceReady = true;
  #sinkReady = true;
  /** The source has said its last byte, or is broken: what can still be read is all there is. */
  #sourceOver = false;
  #asked = false;

  #receivedBytes: number;
  /** Of these, what others were told of. */
  #notedBytes: number;
  /** In pipes, or sent. */
  #movedBytes = 0;
  #sentBytes = 0;
  #chunkStartBytes = 0;
  /** Read, and not in a pipe yet. */
  #pending: Uint8Array;
  /** Where the first of them lie; theirs until they are in a pipe. */
  #stagedBlock: number | null;
  /** Of a chunked source: read, and not taken apart yet; after the end of the body, what comes behind it. */
  #ahead: Uint8Array = nothing;
  /** As long as the framing before the last chunk: that before the next is hardly ever of another length. */
  #framingBytes = framingBytes;
  #framingSoFarBytes = 0;
  /** In this turn. */
  #takenApartBytes = 0;
  /** The last byte of a promised length, until the source's framing has kept the promise. */
  #heldByte: Uint8Array | null = null;

  #pipes: Pipe[] = [];
  #gatheredBytes = 0;
  /** The frame may wait no longer. */
  #flush = false;
  #flushDueMs = Infinity;
  /** Until then a client that goes on may fill the frame. */
  #flushLatestMs = Infinity;
  /** When it was last looked whether the client goes on; null where it was held back. */
  #seenBytes: number | null = null;

  /** What has been gathered is on its way out: first this, then the pipes, then the tail. */
  #sending = false;
  #head: Uint8Array = nothing;
  #tail: Uint8Array = nothing;
  #last = false;

  constructor(order: TransferOrder, record: TransferRecord, host: TransferHost) {
    const { slot, source, sink, body, prefix, gate, chunkBytes, leastRate } = order;
    this.slot = slot;
    this.source = source;
    this.sink = sink;
    this.record = record;
    this.#host = host;
    this.#body = body;
    this.#gate = gate === null ? null : new EndGate(gate);
    this.#chunkBytes = chunkBytes;
    this.#rate = leastRate === null ? null : new RateWatch(leastRate, host.nowMs);
    this.#stagedBlock = 'block' in prefix ? prefix.block : null;
    this.#pending = 'block' in prefix ? host.staging.bytes(prefix.block, prefix.bytes) : prefix;
    this.#receivedBytes = this.#pending.length;
    this.#notedBytes = this.#receivedBytes;
    this.#reader =
      body.framing === 'length'
        ? new LengthReader(body.bytes - this.#receivedBytes)
        : new ChunkReader(body.position);
    host.countHeld(this.#receivedBytes);
    this.#noteRate();
  }

  /** How it ended; null while it goes on. */
  get end(): TransferEnd | null {
    return this.#end;
  }

  /** How far a chunked source was read; null for one of known length. */
  get position(): ChunkPosition | null {
    return this.#reader instanceof ChunkReader ? this.#reader.position : null;
  }

  /** Bytes of a chunked source that were read beyond `position`. */
  get ahead(): Uint8Array {
    return this.#ahead;
  }

  sourceReadable(): void {
    this.#sourceReady = true;
  }

  sinkWritable(): void {
    this.#sinkReady = true;
    if (this.record.awaited === 'upstream') this.#await('client');
  }

  /** The peer of the source has closed its side in an orderly way, or else the connection is broken. */
  sourceEnded(broken: boolean): void {
    this.#sourceOver = true;
    this.#sourceReady = true;
    if (broken && this.#reader instanceof ChunkReader && !this.#reader.done) this.#sourceGone(-1);
    else if (this.record.awaited === 'upstream') this.#lookForRest();
  }

  sinkLost(): void {
    // what is with the kernel is sent, whatever comes of it
    this.#finish({ how: 'sink-lost' });
  }

  /** Nobody tells when its sockets are ready. */
  unwatched(errno: number): void {
    this.#finish({ how: 'unwatched', errno });
  }

  cancel(): void {
    this.#finish({ how: 'cancelled' });
  }

  /** More may be allowed now, the gate be open, a pipe be free. */
  look(): void {
    this.#asked = false;
    if (this.record.awaited === 'gateway') this.#await('client');
  }

  /** It is time to look at the frame that is being filled, if it is still the one that was meant. True: it waits no longer. */
  flush(dueMs: number): boolean {
    if (this.#flushDueMs !== dueMs) return false;
    const isSilent = !this.#sourceReady && this.#receivedBytes === this.#seenBytes;
    if (!isSilent && this.#host.nowMs < this.#flushLatestMs) {
      this.#armFlush();
      return false;
    }
    this.#flush = true;
    return true;
  }

  /** Moves on. True: there is more to do, but the others have their turn first. */
  step(): boolean {
    this.#takenApartBytes = 0;
    for (let moves = 0; moves < mostMoves && !this.#turnOver; moves += 1) {
      if (this.#end !== null) return false;
      if (!this.#sending && !this.#gather()) return false;
      if (this.#sending && !this.#send()) return false;
    }
    return this.#end === null;
  }

  /** Gives its pipes back; the descriptors are the loop's to close. */
  release(): void {
    this.#freeBlock();
    for (const pipe of this.#pipes) this.#host.pipes.giveBack(pipe);
    this.#pipes = [];
    this.#host.countHeld(-(this.#receivedBytes - this.#sentBytes + this.#ahead.length));
  }

  get #frames(): boolean {
    return this.#body.framing === 'chunked' && this.#body.declaredBytes === null;
  }

  /** True when something is on its way out, or the turn is over; false when it has to wait, or has ended. */
  #gather(): boolean {
    for (let moves = 0; moves < mostMoves && !this.#turnOver; moves += 1) {
      this.#concludeSource();
      if (this.#end !== null) return false;
      if (this.#whole || this.#frameDue) {
        this.#askBefore();
        return this.#end === null && this.#beginSending();
      }
      const isFirst = this.#gatheredBytes === 0;
      const moved = this.#moveIn();
      this.#noteReceived();
      if (this.#end !== null) return false;
      if (isFirst && this.#gatheredBytes > 0) this.#beginFilling();
      if (moved === 'wait') return false;
      if (moved === 'full') return this.#beginSending();
    }
    return true;
  }

  get #turnOver(): boolean {
    return this.#takenApartBytes >= mostTakenApartBytes;
  }

  /** All of the body is in pipes, or sent. */
  get #whole(): boolean {
    return this.#reader.done && this.#pending.length === 0 && this.#heldByte === null;
  }

  /** What is gathered is enough, or may wait no longer. */
  get #frameDue(): boolean {
    if (this.#gatheredBytes === 0) return false;
    return this.#gatheredBytes >= this.#targetBytes || this.#flush || this.#host.crowded;
  }

  /** How much is gathered before it goes: a frame, or whatever there is. */
  get #targetBytes(): number {
    return this.#body.framing === 'chunked' && this.#frames ? this.#body.frameBytes : 1;
  }

  get #pipesFull(): boolean {
    return this.#pipes.length >= mostPipes;
  }

  #beginFilling(): void {
    this.#flush = false;
    if (this.#body.framing !== 'chunked' || !this.#frames) return;
    this.#flushLatestMs = this.#host.nowMs + this.#body.flushAfterMs;
    this.#armFlush();
  }

  #armFlush(): void {
    if (this.#body.framing !== 'chunked') return;
    this.#seenBytes = this.record.awaited === 'client' ? this.#receivedBytes : null;
    this.#flushDueMs = Math.min(this.#flushLatestMs, this.#host.nowMs + silenceMs(this.#body.flushAfterMs));
    this.#host.flushAt(this, this.#flushDueMs);
  }

  /** Where the source's framing has ended: as it promised? Then the byte that was held back may go. */
  #concludeSource(): void {
    if (!this.#reader.done) return;
    this.record.endReceived = true;
    if (this.#body.framing === 'length' || this.#pending.length > 0) return;
    const { declaredBytes } = this.#body;
    if (declaredBytes !== null && this.#receivedBytes < declaredBytes) {
      this.#refuse(shorterThanDeclared(this.#receivedBytes, declaredBytes));
    } else if (this.#heldByte !== null) {
      this.#pending = this.#heldByte;
      this.#heldByte = null;
    }
  }

  /**
   * Brings bytes nearer to a pipe. `full`: no pipe takes more, but some have bytes. `wait`: nothing is to be had now, or it
   * has ended.
   */
  #moveIn(): 'moved' | 'wait' | 'full' {
    if (this.#pending.length > 0) return this.#mayMove ? this.#movePending() : this.#askForMore();
    if (this.#reader instanceof LengthReader) {
      return this.#mayMove ? this.#moveFromSource(this.#reader) : this.#askForMore();
    }
    if (this.#ahead.length > 0) {
      this.#takeAhead(this.#reader);
      return this.#end === null ? 'moved' : 'wait';
    }
    if (this.#reader.dataBytes > 0) {
      if (!this.#mayReceive()) return 'wait';
      if (!this.#mayMove) return this.#askForMore();
    }
    return this.#fill(this.#reader);
  }

  /** So many bytes of data may go into pipes now. */
  get #roomBytes(): number {
    const allowedBytes = this.record.allowedBytes - this.#movedBytes;
    return this.#frames ? Math.min(this.#targetBytes - this.#gatheredBytes, allowedBytes) : allowedBytes;
  }

  get #mayMove(): boolean {
    return this.record.allowedBytes > this.#movedBytes;
  }

  #askForMore(): 'wait' {
    this.#ask();
    this.#await('gateway');
    return 'wait';
  }

  #ask(): void {
    if (!this.#asked) this.#host.askForMore(this.slot);
    this.#asked = true;
  }

  /** Where bytes beyond what is allowed are here already the answer may come while those before them are sent. */
  #askBefore(): void {
    if (this.#mayMove || !(this.#reader instanceof ChunkReader)) return;
    if (this.#pending.length === 0) this.#takeAhead(this.#reader);
    this.#noteReceived();
    if (this.#pending.length > 0) this.#ask();
  }

  /** False where the body has more than it may: it has ended then. */
  #mayReceive(): boolean {
    const { declaredBytes, maxBytes } = this.#limits;
    if (declaredBytes !== null && this.#receivedBytes >= declaredBytes) {
      this.#refuse(longerThanDeclared(declaredBytes));
      return false;
    }
    if (maxBytes > 0 && this.#receivedBytes >= maxBytes) {
      this.#refuse(longerThanAllowed(maxBytes));
      return false;
    }
    return true;
  }

  /** What a chunked body is held to; one of known length cannot be longer. */
  get #limits(): { readonly declaredBytes: number | null; readonly maxBytes: number } {
    return this.#body.framing === 'chunked' ? this.#body : { declaredBytes: null, maxBytes: 0 };
  }

  #movePending(): 'moved' | 'wait' | 'full' {
    const pipe = this.#pipeWithRoom();
    if (pipe === null) return this.#noPipe();
    const piece = this.#pending.subarray(0, Math.min(this.#roomBytes, pipe.roomBytes));
    const written = this.#host.libc.write(pipe.write, piece);
    if (written <= 0) return this.#anotherPipe() ? this.#movePending() : this.#noPipe();
    // an empty view would keep all of what it was cut from
    this.#pending = written < this.#pending.length ? this.#pending.subarray(written) : nothing;
    if (this.#pending.length === 0) this.#freeBlock();
    this.#tookIn(pipe, written);
    return 'moved';
  }

  #moveFromSource(reader: LengthReader): 'moved' | 'wait' | 'full' {
    const { libc } = this.#host;
    if (!this.#sourceReady) return this.#awaitSource();
    const pipe = this.#pipeWithRoom();
    if (pipe === null) return this.#noPipe();
    const bytes = Math.min(this.#roomBytes, reader.dataBytes, pipe.roomBytes, this.#host.roomBytes);
    const moved = libc.splice(this.source, pipe.write, bytes, false);
    if (moved === EINTR) return this.#moveFromSource(reader);
    if (moved === EAGAIN) {
      // from a full pipe as well as from an empty socket
      if (pipe.heldBytes > 0 && libc.readableBytes(this.source) > 0) {
        return this.#anotherPipe() ? this.#moveFromSource(reader) : 'full';
      }
      return this.#sourceEmpty();
    }
    if (moved <= 0) return this.#sourceGone(moved);
    reader.took(moved);
    this.#receivedBytes += moved;
    this.#heard();
    this.#tookIn(pipe, moved);
    return 'moved';
  }

  /**
   * Reads on in a chunked source: data, with the framing between and behind it, as it stands in the socket. One call for many
   * chunks costs less than three for each; what is read beyond the end of the body is handed back with the connection.
   */
  #fill(reader: ChunkReader): 'moved' | 'wait' | 'full' {
    if (!this.#sourceReady) return this.#awaitSource();
    const { libc } = this.#host;
    const roomBytes = Math.max(0, this.#roomBytes);
    const wantedBytes = roomBytes + roomBytes * framingPart + framingBytes;
    if (wantedBytes < smallChunkBytes || reader.chunkBytes < smallChunkBytes) {
      const bytes = Math.min(scratch.length, Math.floor(wantedBytes));
      const read = libc.receive(this.source, scratch, bytes);
      if (read <= 0) return this.#notRead(read);
      this.#heard();
      this.#takeApart(reader, scratch.subarray(0, read));
      return this.#end === null ? 'moved' : 'wait';
    }
    const intake = this.#host.intake();
    if (intake === null || this.#pipeWithRoom() === null) return this.#noPipe();
    const bytes = Math.min(intake.roomBytes, Math.floor(wantedBytes), this.#host.roomBytes);
    const read = libc.splice(this.source, intake.write, bytes, false);
    if (read <= 0) return this.#notRead(read);
    this.#heard();
    intake.heldBytes += read;
    const outcome = this.#emptyIntake(reader, intake);
    return this.#end === null ? outcome : 'wait';
  }

  /** Data goes on from pipe to pipe, by reference. What there is no room for is kept in memory. */
  #emptyIntake(reader: ChunkReader, intake: Pipe): 'moved' | 'full' {
    let outcome: 'moved' | 'full' = 'moved';
    while (intake.heldBytes > 0 && this.#end === null && !reader.done) {
      if (this.#pending.length > 0) {
        if (this.#roomBytes <= 0 || this.#movePending() !== 'moved') break;
      } else if (reader.dataBytes === 0 || reader.chunkBytes < smallChunkBytes) {
        if (this.#turnOver) break;
        const bytes = Math.min(
          reader.dataBytes === 0 ? this.#framingBytes : scratch.length,
          intake.heldBytes,
        );
        this.#readIntake(intake, scratch, bytes);
        this.#takeApart(reader, framingViews[bytes] ?? scratch.subarray(0, bytes));
      } else {
        if (this.#roomBytes <= 0) break;
        outcome = this.#moveFromIntake(reader, intake);
        if (outcome === 'full') break;
      }
    }
    if (intake.heldBytes > 0) this.#setAhead(Buffer.concat([this.#ahead, this.#drained(intake)]));
    return outcome;
  }

  #drained(intake: Pipe): Uint8Array {
    const rest = Buffer.alloc(intake.heldBytes);
    this.#readIntake(intake, rest, rest.length);
    return rest;
  }

  /** Bytes that are there: what a pipe holds is read in one call. */
  #readIntake(intake: Pipe, into: Uint8Array, bytes: number): void {
    const read = this.#host.libc.read(intake.read, into, bytes);
    if (read !== bytes) throw new Error(`a pipe gave ${read} of ${bytes} bytes`);
    intake.heldBytes -= read;
  }

  #moveFromIntake(reader: ChunkReader, intake: Pipe): 'moved' | 'full' {
    if (!this.#mayReceive()) return 'moved';
    const { declaredBytes, maxBytes } = this.#limits;
    let bytes = Math.min(this.#roomBytes, intake.heldBytes, reader.dataBytes);
    if (maxBytes > 0) bytes = Math.min(bytes, maxBytes - this.#receivedBytes);
    if (declaredBytes !== null) {
      bytes = Math.min(bytes, declaredBytes - 1 - this.#receivedBytes);
      if (bytes === 0) {
        // the last of a promised length: the framing is still to keep the promise
        this.#heldByte = Buffer.alloc(1);
        this.#readIntake(intake, this.#heldByte, 1);
        reader.took(1);
        this.#receivedBytes += 1;
        return 'moved';
      }
    }
    const pipe = this.#pipeWithRoom();
    if (pipe === null) return 'full';
    const moved = this.#host.libc.splice(intake.read, pipe.write, bytes, false);
    if (moved === EINTR) return 'moved';
    if (moved <= 0) return this.#anotherPipe() ? 'moved' : 'full';
    intake.heldBytes -= moved;
    reader.took(moved);
    this.#receivedBytes += moved;
    this.#tookIn(pipe, moved);
    return 'moved';
  }

  /**
   * Takes bytes of the source apart that are in memory, all that there are. Framing that breaks the rules is told after the
   * data before it, as from any parser.
   */
  #takeApart(reader: ChunkReader, wire: Uint8Array): void {
    this.#takenApartBytes += wire.length;
    const before = reader.position;
    try {
      const taken = this.#takeFraming(reader, wire);
      if (taken < wire.length) this.#takeRest(reader, wire.subarray(taken));
    } catch (error) {
      // whoever has the connection then reads the same bytes from the same place
      this.#reader = new ChunkReader(before);
      this.#setAhead(Buffer.concat([wire, this.#ahead]));
      this.#refuse(error);
    }
  }

  #takeRest(reader: ChunkReader, wire: Uint8Array): void {
    const pieces: Uint8Array[] = [];
    const taken = readChunks(reader, wire, (data) => pieces.push(data));
    if (taken < wire.length) this.#setAhead(Buffer.concat([wire.subarray(taken), this.#ahead]));
    this.#takeData(Buffer.concat(pieces));
  }

  #takeAhead(reader: ChunkReader): void {
    if (reader.done) return;
    const wire = this.#ahead.subarray(0, mostTakenApartBytes);
    // an empty view would keep all of what it was cut from
    this.#setAhead(wire.length < this.#ahead.length ? this.#ahead.subarray(wire.length) : nothing);
    this.#takeApart(reader, wire);
  }

  #takeFraming(reader: ChunkReader, wire: Uint8Array): number {
    const taken = reader.readFraming(wire);
    this.#framingSoFarBytes += taken;
    if (reader.dataBytes === 0 || taken === 0) return taken;
    this.#framingBytes = Math.min(framingBytes, this.#framingSoFarBytes);
    this.#framingSoFarBytes = 0;
    return taken;
  }

  #takeData(data: Uint8Array): void {
    if (data.length === 0) return;
    this.#receivedBytes += data.length;
    const { declaredBytes, maxBytes } = this.#limits;
    if (declaredBytes !== null && this.#receivedBytes > declaredBytes) {
      return this.#refuse(longerThanDeclared(declaredBytes));
    }
    if (maxBytes > 0 && this.#receivedBytes > maxBytes) return this.#refuse(longerThanAllowed(maxBytes));
    if (declaredBytes !== null && this.#receivedBytes === declaredBytes) {
      this.#heldByte = new Uint8Array(data.subarray(-1));
      this.#pending = data.subarray(0, -1);
    } else this.#pending = data;
  }

  #setAhead(wire: Uint8Array): void {
    this.#host.countHeld(wire.length - this.#ahead.length);
    this.#ahead = wire;
  }

  /** @param result of a call that brought nothing. */
  #notRead(result: number): 'moved' | 'wait' {
    if (result === EINTR) return 'moved';
    return result === EAGAIN ? this.#sourceEmpty() : this.#sourceGone(result);
  }

  #sourceEmpty(): 'wait' {
    this.#sourceReady = false;
    return this.#awaitSource();
  }

  #pipeWithRoom(): Pipe | null {
    return this.#pipes.at(-1) ?? (this.#anotherPipe() ? (this.#pipes.at(-1) ?? null) : null);
  }

  #anotherPipe(): boolean {
    if (this.#pipesFull) return false;
    const pipe = this.#host.pipes.take();
    if (typeof pipe === 'number') return false;
    this.#pipes.push(pipe);
    return true;
  }

  /** No pipe has room and there is no other: what is gathered goes, or somebody else has to give one back. */
  #noPipe(): 'wait' | 'full' {
    if (this.#gatheredBytes > 0) return 'full';
    this.#letPipesGo();
    this.#host.awaitPipe(this);
    this.#await('gateway');
    return 'wait';
  }

  #tookIn(pipe: Pipe, bytes: number): void {
    pipe.heldBytes += bytes;
    this.#gatheredBytes += bytes;
    this.#movedBytes += bytes;
  }

  /** Tells of what has come in since the last time. */
  #noteReceived(): void {
    const bytes = this.#receivedBytes - this.#notedBytes;
    if (bytes === 0) return;
    this.#notedBytes = this.#receivedBytes;
    this.record.receivedBytes = this.#receivedBytes;
    this.#host.countHeld(bytes);
    this.#rate?.receive(bytes, this.#host.nowMs);
    this.#noteRate();
  }

  #heard(): void {
    this.record.lastByteMs = this.#host.nowMs;
  }

  #awaitSource(): 'wait' {
    this.#await('client');
    if (this.#gatheredBytes === 0) this.#letPipesGo();
    return 'wait';
  }

  /** @param result 0 = it has ended in an orderly way, below 0 the error. */
  #sourceGone(result: number): 'wait' {
    this.#finish({ how: result === 0 ? 'source-ended' : 'source-lost' });
    return 'wait';
  }

  #beginSending(): true {
    this.#last = this.#whole && (!this.#frames || this.#gatheredBytes === 0);
    if (this.#frames) {
      this.#head = this.#last ? lastChunk : Buffer.from(`${this.#gatheredBytes.toString(16)}\r\n`, 'latin1');
      this.#tail = this.#last ? nothing : crlf;
      this.#flush = false;
      this.#flushDueMs = Infinity;
    }
    this.#sending = true;
    return true;
  }

  /** True when all of it is with the sink; false when that has to be waited for, or it is the end. */
  #send(): boolean {
    const { libc } = this.#host;
    if (!this.#sinkReady) return this.#awaitSink();
    if (this.#frames && this.#last && !this.#mayEnd()) return false;
    while (this.#head.length > 0) {
      const sent = libc.send(this.sink, this.#head, this.#gatheredBytes > 0);
      if (sent < 0) return this.#notSent(sent);
      this.#head = this.#head.subarray(sent);
    }
    for (let pipe = this.#pipes[0]; pipe !== undefined; pipe = this.#pipes[0]) {
      while (pipe.heldBytes > 0) {
        // the kernel may take less than it is given: the end is claimed only when nothing is left before it
        const beforeEnd = this.#last && this.#gate !== null && this.#gatheredBytes > 1;
        if (this.#last && !beforeEnd && !this.#mayEnd()) return false;
        const most = beforeEnd ? this.#gatheredBytes - 1 : pipe.heldBytes;
        const more = beforeEnd || this.#tail.length > 0;
        const sent = libc.splice(pipe.read, this.sink, Math.min(pipe.heldBytes, most), more);
        if (sent < 0) return this.#notSent(sent);
        pipe.heldBytes -= sent;
        this.#gatheredBytes -= sent;
        this.#sent(sent);
      }
      this.#pipes.shift();
      this.#host.pipes.giveBack(pipe);
    }
    while (this.#tail.length > 0) {
      const sent = libc.send(this.sink, this.#tail, false);
      if (sent < 0) return this.#notSent(sent);
      this.#tail = this.#tail.subarray(sent);
    }
    this.#sending = false;
    if (!this.#last) return true;
    this.#finish({ how: 'sent' });
    return false;
  }

  /** Asked right before the end is sent. False: somebody else holds it. */
  #mayEnd(): boolean {
    if (this.#gate === null || this.#gate.claim()) return true;
    this.#await('gateway');
    return false;
  }

  #notSent(error: number): boolean {
    if (error === EINTR) return true;
    if (error === EAGAIN) {
      this.#sinkReady = false;
      return this.#awaitSink();
    }
    this.sinkLost();
    return false;
  }

  /** While it is waited for nobody reads the source, and a source that has left is not to be waited for as well. */
  #awaitSink(): false {
    this.#await('upstream');
    if (this.#sourceOver) this.#lookForRest();
    return false;
  }

  /** A source that is over and cannot have the rest of the body has left in the middle of it. */
  #lookForRest(): void {
    if (this.#reader.done || !(this.#reader instanceof LengthReader)) return;
    const readable = this.#host.libc.readableBytes(this.source);
    if (readable < this.#reader.dataBytes) this.#finish({ how: 'source-lost' });
  }

  #sent(bytes: number): void {
    this.#sentBytes += bytes;
    this.record.sentBytes = this.#sentBytes;
    this.#host.countHeld(-bytes);
    if (this.#sentBytes - this.#chunkStartBytes < this.#chunkBytes) return;
    this.#chunkStartBytes = this.#sentBytes;
    this.record.beginChunk(this.#host.nowMs);
  }

  #freeBlock(): void {
    if (this.#stagedBlock !== null) this.#host.staging.free(this.#stagedBlock);
    this.#stagedBlock = null;
  }

  #letPipesGo(): void {
    for (const pipe of this.#pipes.splice(0)) this.#host.pipes.giveBack(pipe);
  }

  #await(awaited: Awaited): void {
    if (this.record.awaited === awaited) return;
    const { nowMs } = this.#host;
    this.record.turnTo(awaited, nowMs);
    // the client's time begins when it is read from again, and does not run while it is not
    if (awaited === 'client') {
      this.#heard();
      this.#rate?.release(nowMs);
    } else this.#rate?.hold(nowMs);
    this.#noteRate();
  }

  #noteRate(): void {
    if (this.#rate === null) return;
    const { nowMs } = this.#host;
    const leftMs = this.#rate.leftMs(nowMs);
    this.record.lotBytes = this.#rate.lotBytes;
    this.record.rateDueMs = leftMs === Infinity ? Infinity : nowMs + leftMs;
    if (leftMs !== Infinity) this.record.rateLeftMs = leftMs;
  }

  #refuse(error: unknown): void {
    if (!(error instanceof GatewayError)) throw error;
    const { code, message, ending, facts } = error;
    this.#finish({ how: 'refused', code, detail: message, ending: ending ?? 'client-gone', facts });
  }

  /** The first end counts. */
  #finish(end: TransferEnd): void {
    this.#end ??= end;
  }
}
