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

/** Chunks of the client below this are copied: three system calls for each would cost more. */
const smallChunkBytes = 8 * KiB;

/** Looked at for the framing between two chunks: enough for `CRLF size CRLF`. */
const framingBytes = 64;

/** Pipes for one frame. What comes in small packets fills a pipe long before its room in bytes is taken. */
const mostPipes = 8;

const nothing = new Uint8Array(0);
const crlf = Buffer.from('\r\n');
const lastChunk = Buffer.from('0\r\n\r\n');

/** Read into and decoded at once, by one transfer at a time. */
const scratch = Buffer.alloc(64 * KiB);

/** What a transfer needs of the thread it runs in. */
export interface TransferHost {
  readonly libc: Libc;
  readonly pipes: PipePool;
  readonly staging: Staging;
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
  readonly #reader: ChunkReader | LengthReader;
  readonly #gate: EndGate | null;
  readonly #rate: RateWatch | null;
  readonly #chunkBytes: number;

  #sourceReady = true;
  #sinkReady = true;
  /** The source has said its last byte, or is broken: what can still be read is all there is. */
  #sourceOver = false;
  #asked = false;

  #receivedBytes: number;
  /** In pipes, or sent. */
  #movedBytes = 0;
  #sentBytes = 0;
  #chunkStartBytes = 0;
  /** Read, and not in a pipe yet. */
  #pending: Uint8Array;
  /** Where the first of them lie; theirs until they are in a pipe. */
  #stagedBlock: number | null;
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
    for (let moves = 0; moves < mostMoves; moves += 1) {
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
    this.#host.countHeld(-(this.#receivedBytes - this.#sentBytes));
  }

  get #frames(): boolean {
    return this.#body.framing === 'chunked' && this.#body.declaredBytes === null;
  }

  /** True when something is on its way out, or the turn is over; false when it has to wait, or has ended. */
  #gather(): boolean {
    for (let moves = 0; moves < mostMoves; moves += 1) {
      this.#concludeSource();
      if (this.#end !== null) return false;
      if (this.#whole || this.#frameDue) return this.#beginSending();
      const moved = this.#moveIn();
      if (this.#end !== null || moved === 'wait') return false;
      if (moved === 'full') return this.#beginSending();
      if (moved === this.#gatheredBytes) this.#beginFilling();
    }
    return true;
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
   * Brings bytes into a pipe; 0 where only framing was read. `full`: no pipe takes more, but some have bytes. `wait`: nothing
   * is to be had now, or it has ended.
   */
  #moveIn(): number | 'wait' | 'full' {
    if (this.#pending.length === 0) {
      if (this.#reader.dataBytes === 0) {
        return this.#reader instanceof ChunkReader && this.#readFraming(this.#reader) ? 0 : 'wait';
      }
      if (!this.#mayReceive()) return 'wait';
    }
    const allowedBytes = this.record.allowedBytes - this.#movedBytes;
    if (allowedBytes <= 0) {
      if (!this.#asked) this.#host.askForMore(this.slot);
      this.#asked = true;
      this.#await('gateway');
      return 'wait';
    }
    const mostBytes = this.#frames ? this.#targetBytes - this.#gatheredBytes : Infinity;
    const bytes = Math.min(mostBytes, allowedBytes);
    return this.#pending.length > 0 ? this.#movePending(bytes) : this.#moveFromSource(bytes);
  }

  /** False where the body has more than it may: it has ended then. */
  #mayReceive(): boolean {
    if (this.#body.framing === 'length') return true;
    const { maxBytes, declaredBytes } = this.#body;
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

  #movePending(mostBytes: number): number | 'wait' | 'full' {
    const pipe = this.#pipeWithRoom();
    if (pipe === null) return this.#noPipe();
    const piece = this.#pending.subarray(0, Math.min(mostBytes, pipe.roomBytes));
    const written = this.#host.libc.write(pipe.write, piece);
    if (written <= 0) return this.#anotherPipe() ? this.#movePending(mostBytes) : this.#noPipe();
    // an empty view would keep all of what it was cut from
    this.#pending = written < this.#pending.length ? this.#pending.subarray(written) : nothing;
    if (this.#pending.length === 0) this.#freeBlock();
    this.#tookIn(pipe, written);
    return written;
  }

  #moveFromSource(mostBytes: number): number | 'wait' | 'full' {
    const { libc } = this.#host;
    if (!this.#sourceReady) return this.#awaitSource();
    let bytes = Math.min(mostBytes, this.#reader.dataBytes);
    if (this.#body.framing === 'chunked') {
      const { declaredBytes, maxBytes } = this.#body;
      if (declaredBytes !== null) {
        bytes = Math.min(bytes, declaredBytes - 1 - this.#receivedBytes);
        if (bytes === 0) return this.#takeLastByte();
      }
      if (maxBytes > 0) bytes = Math.min(bytes, maxBytes - this.#receivedBytes);
    }
    const pipe = this.#pipeWithRoom();
    if (pipe === null) return this.#noPipe();
    bytes = Math.min(bytes, pipe.roomBytes, this.#host.roomBytes);
    const moved = libc.splice(this.source, pipe.write, bytes, false);
    if (moved === EINTR) return this.#moveFromSource(mostBytes);
    if (moved === EAGAIN) {
      // from a full pipe as well as from an empty socket
      if (pipe.heldBytes > 0 && libc.readableBytes(this.source) > 0) {
        return this.#anotherPipe() ? this.#moveFromSource(mostBytes) : 'full';
      }
      this.#sourceReady = false;
      return this.#awaitSource();
    }
    if (moved <= 0) return this.#sourceGone(moved);
    this.#reader.took(moved);
    this.#received(moved);
    this.#tookIn(pipe, moved);
    return moved;
  }

  /** Of a promised length, whose framing is still to keep the promise. */
  #takeLastByte(): 0 | 'wait' {
    const byte = Buffer.alloc(1);
    const read = this.#host.libc.receive(this.source, byte, 1, false);
    if (read === EAGAIN) {
      this.#sourceReady = false;
      return this.#awaitSource();
    }
    if (read <= 0) return this.#sourceGone(read);
    this.#reader.took(1);
    this.#received(1);
    this.#heldByte = byte;
    return 0;
  }

  /** Reads what stands between data. False: it has to wait, or has ended. */
  #readFraming(reader: ChunkReader): boolean {
    const { libc } = this.#host;
    if (!this.#sourceReady) {
      this.#awaitSource();
      return false;
    }
    const seen = libc.receive(this.source, scratch, framingBytes, true);
    if (seen === EAGAIN || seen === EINTR) {
      this.#sourceReady = seen === EINTR;
      if (!this.#sourceReady) this.#awaitSource();
      return false;
    }
    if (seen <= 0) {
      this.#sourceGone(seen);
      return false;
    }
    try {
      const framing = reader.readFraming(scratch.subarray(0, seen));
      libc.receive(this.source, scratch, framing, false);
      this.#heard();
      if (reader.dataBytes > 0 && reader.dataBytes < smallChunkBytes) this.#copySmallChunks(reader);
    } catch (error) {
      this.#refuse(error);
    }
    return this.#end === null;
  }

  /** Takes all that is there in one go; framing that breaks the rules is told after the data before it, as from any parser. */
  #copySmallChunks(reader: ChunkReader): void {
    const { libc } = this.#host;
    const seen = libc.receive(this.source, scratch, scratch.length, true);
    if (seen <= 0) return;
    const pieces: Uint8Array[] = [];
    const taken = readChunks(reader, scratch.subarray(0, seen), (data) => pieces.push(data));
    const copied = Buffer.concat(pieces);
    libc.receive(this.source, scratch, taken, false);
    this.#received(copied.length);
    const { declaredBytes, maxBytes } =
      this.#body.framing === 'chunked' ? this.#body : { declaredBytes: null, maxBytes: 0 };
    if (declaredBytes !== null && this.#receivedBytes > declaredBytes) {
      return this.#refuse(longerThanDeclared(declaredBytes));
    }
    if (maxBytes > 0 && this.#receivedBytes > maxBytes) return this.#refuse(longerThanAllowed(maxBytes));
    if (declaredBytes !== null && this.#receivedBytes === declaredBytes) {
      this.#heldByte = copied.subarray(-1);
      this.#pending = copied.subarray(0, -1);
    } else this.#pending = copied;
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
    this.#host.awaitPipe(this);
    this.#await('gateway');
    return 'wait';
  }

  #tookIn(pipe: Pipe, bytes: number): void {
    pipe.heldBytes += bytes;
    this.#gatheredBytes += bytes;
    this.#movedBytes += bytes;
  }

  #received(bytes: number): void {
    this.#receivedBytes += bytes;
    this.record.receivedBytes = this.#receivedBytes;
    this.#host.countHeld(bytes);
    this.#rate?.receive(bytes, this.#host.nowMs);
    this.#heard();
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

  /** True: sending begins. False: the end is held by somebody else. */
  #beginSending(): boolean {
    const isEnd = this.#whole && (!this.#frames || this.#gatheredBytes === 0);
    if (isEnd && this.#gate !== null && !this.#gate.claim()) {
      this.#await('gateway');
      return false;
    }
    this.#last = isEnd;
    if (this.#frames) {
      this.#head = isEnd ? lastChunk : Buffer.from(`${this.#gatheredBytes.toString(16)}\r\n`, 'latin1');
      this.#tail = isEnd ? nothing : crlf;
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
    while (this.#head.length > 0) {
      const sent = libc.send(this.sink, this.#head, this.#gatheredBytes > 0);
      if (sent < 0) return this.#notSent(sent);
      this.#head = this.#head.subarray(sent);
    }
    for (let pipe = this.#pipes[0]; pipe !== undefined; pipe = this.#pipes[0]) {
      while (pipe.heldBytes > 0) {
        const sent = libc.splice(pipe.read, this.sink, pipe.heldBytes, this.#tail.length > 0);
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
