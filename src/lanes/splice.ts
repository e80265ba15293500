import type { IncomingMessage } from 'node:http';
import { chunkNotTaken, clientBelowRate, clientLeft, clientSilent, notInTime } from '../core/body-error.ts';
import { type BridgePiece, bridgeBetween, canLeave } from '../core/chunk-bridge.ts';
import { type ChunkPosition, ChunkReader, readChunks } from '../core/chunk-reader.ts';
import { GatewayError } from '../core/errors.ts';
import { timeFor } from '../core/time-limit.ts';
import { KiB } from '../core/units.ts';
import { descriptorOf } from '../http/descriptor.ts';
import { flushed } from '../http/flushed.ts';
import { RequestParser } from '../http/request-parser.ts';
import { Deadline } from './deadline.ts';
import { monotonicMs } from './kernel/monotonic.ts';
import type { Body, TransferEnd } from './kernel/orders.ts';
import type { Ended, RunningTransfer, SpliceEngine } from './kernel/splice-engine.ts';
import { type Carried, inFrames, type Lane, type Passage } from './lane.ts';

const taken = Buffer.alloc(64 * KiB);
const takenAtOnceBytes = 4 * KiB;

/** What the read that brought the head has brought of a chunked body. */
interface ChunkStart {
  readonly position: ChunkPosition;
  /** Of data, before the position. */
  readonly dataBytes: number;
  /** Read from the connection so far: the position holds while it is as many. */
  readonly readBytes: number;
}

/**
 * Moves bytes in the kernel, by splice(2) in a thread of its own: Node sees the head, the first bytes, and the answer. What
 * this cannot do the other lane does: TLS, small bodies, more bodies at once than there is room for.
 */
export class SpliceLane implements Lane {
  readonly name = 'splice';
  readonly #engine: () => SpliceEngine | null;
  readonly #other: Lane;
  readonly #chunkStarts = new WeakMap<IncomingMessage, ChunkStart>();

  /**
   * @param engine null while there is none.
   * @param other for what cannot be spliced.
   */
  constructor(engine: () => SpliceEngine | null, other: Lane) {
    this.#engine = engine;
    this.#other = other;
  }

  prepare(request: IncomingMessage): void {
    const start = this.#engine()?.alive ? chunkStartOf(request) : null;
    if (start === null) return;
    // what was read is where Node's parser stands; whoever reads the body makes Node read on
    request.socket.pause();
    this.#chunkStarts.set(request, start);
  }

  async carry(passage: Passage): Promise<Carried> {
    const way = this.#wayFor(passage);
    if (way === null) return await this.#other.carry(passage);
    return await new Handover(passage, way, this.#other).carry();
  }

  /** Null where the other lane has to do it; nothing has happened then. */
  #wayFor(passage: Passage): Way | null {
    const { client, upstream, declaredBytes, maxBytes, spliceFromBytes, signal } = passage;
    const engine = this.#engine();
    if (engine === null || !engine.alive || signal.aborted || client.destroyed || client.complete)
      return null;
    const source = descriptorOf(client.socket);
    const sink = descriptorOf(upstream);
    const parser = RequestParser.of(client);
    if (source === null || sink === null || parser === null) return null;
    // when it has drained Node reads on
    if (client.socket.writableNeedDrain) return null;
    const heldBytes = client.readableLength;
    if (maxBytes > 0 && heldBytes > maxBytes) return null;
    if (declaredBytes !== null && declaredBytes - heldBytes < Math.max(1, spliceFromBytes)) return null;
    if (!passage.endFollows)
      return declaredBytes === null ? null : { engine, source, sink, parser, position: null };
    const start = this.#chunkStarts.get(client);
    if (start === undefined || start.dataBytes !== heldBytes || !canLeave(start.position)) return null;
    if (start.readBytes !== client.socket.bytesRead) return null;
    return { engine, source, sink, parser, position: start.position };
  }
}

interface Way {
  readonly engine: SpliceEngine;
  readonly source: number;
  readonly sink: number;
  readonly parser: RequestParser;
  /** Where Node's parser stands in a chunked body; null for one of known length. */
  readonly position: ChunkPosition | null;
}

/** Only in the turn in which its head was parsed, and only where all of the head came in one read. */
function chunkStartOf(request: IncomingMessage): ChunkStart | null {
  const read = RequestParser.of(request)?.currentRead();
  if (read === undefined || read.length === 0 || read[0] === 10 || read[0] === 13) return null;
  const headEnd = read.indexOf('\r\n\r\n');
  if (headEnd < 0) return null;
  const reader = new ChunkReader();
  let dataBytes = 0;
  try {
    readChunks(reader, read.subarray(headEnd + 4), (data) => {
      dataBytes += data.length;
    });
  } catch {
    // Node's parser says so too, and is believed
    return null;
  }
  return { position: reader.position, dataBytes, readBytes: request.socket.bytesRead };
}

/**
 * What Node has read of a body; the next call may overwrite it. In pieces: asked for all at once a stream makes one of what
 * came in several reads, 64 KiB of garbage for each upload.
 */
function takeRead(request: IncomingMessage): Buffer {
  const bytes = request.readableLength;
  const into = bytes <= taken.length ? taken.subarray(0, bytes) : Buffer.alloc(bytes);
  let at = 0;
  while (at < bytes) {
    const piece: unknown = request.read(Math.min(takenAtOnceBytes, bytes - at));
    if (!Buffer.isBuffer(piece)) throw new Error('a stream does not give what it holds');
    at += piece.copy(into, at);
  }
  return into;
}

/** One body that is handed to the kernel: watched from here, and taken back when it ends. */
class Handover {
  readonly #passage: Passage;
  readonly #way: Way;
  readonly #other: Lane;
  #transfer: RunningTransfer | null = null;
  /** Read by Node before the kernel took over. */
  #prefixBytes = 0;
  /** Read by Node from the connection until then. */
  #readBytes = 0;
  /** Why it is to end, other than by itself. */
  #cause: { readonly error: unknown } | 'interrupted' | null = null;
  #tellStopped = (): void => {};
  readonly #stopped = new Promise<void>((resolve) => {
    this.#tellStopped = resolve;
  });
  readonly #beganMs = monotonicMs();
  /** One timer for all limits: it waits for the nearest. */
  readonly #deadline = new Deadline(
    () => this.#nearestMs(),
    () => this.#onNearest(),
  );
  /** What the nearest limit means when it is met. */
  #onNearest = (): void => {};

  constructor(passage: Passage, way: Way, other: Lane) {
    this.#passage = passage;
    this.#way = way;
    this.#other = other;
  }

  async carry(): Promise<Carried> {
    const { client, upstream, end, signal, interrupted } = this.#passage;
    const { socket } = client;
    signal.addEventListener('abort', this.#onAbort);
    client.on('close', this.#onClientClose);
    socket.on('close', this.#onClientClose);
    // Node sees nothing of what moves, and would call it silence
    socket.setTimeout(0);
    void interrupted.then(() => this.#stop('interrupted'));
    try {
      // what Node has written of the head comes before what the kernel moves
      await Promise.race([flushed(upstream), interrupted, this.#stopped]);
      if (this.#cause !== null) return this.#conclude(null);
      const transfer = this.#begin();
      if (transfer === null) return await this.#other.carry(this.#passage);
      this.#transfer = transfer;
      end.onFree = () => transfer.look();
      this.#passage.progress.lane = 'splice';
      this.#passage.progress.follow(transfer.record);
      this.#deadline.arm();
      const ended = await transfer.ended;
      this.#takeBack(ended);
      return this.#conclude(ended?.end ?? null);
    } finally {
      this.#deadline.end();
      signal.removeEventListener('abort', this.#onAbort);
      client.off('close', this.#onClientClose);
      socket.off('close', this.#onClientClose);
      end.onFree = null;
      this.#passage.progress.follow(null);
      if (!socket.destroyed) socket.setTimeout(this.#passage.clientSocketTimeoutMs);
    }
  }

  #begin(): RunningTransfer | null {
    const { client, end, allowedBytes, chunkBytes, leastRate } = this.#passage;
    const { engine, source, sink } = this.#way;
    this.#way.parser.stopReading();
    const held = takeRead(client);
    this.#readBytes = client.socket.bytesRead;
    this.#prefixBytes = held.length;
    const transfer = engine.begin({
      source,
      sink,
      body: this.#body(),
      prefix: held,
      gate: end.word,
      chunkBytes,
      leastRate,
      allowedBytes,
      onMore: () => this.#askForMore(),
    });
    if (transfer === null) {
      if (held.length > 0) client.unshift(Buffer.from(held));
      this.#way.parser.readOn();
    }
    return transfer;
  }

  #body(): Body {
    const { declaredBytes, maxBytes, frameBytes, flushAfterMs } = this.#passage;
    const { position } = this.#way;
    if (position === null) return { framing: 'length', bytes: declaredBytes ?? 0 };
    const promised = inFrames(this.#passage) ? null : declaredBytes;
    return { framing: 'chunked', position, declaredBytes: promised, maxBytes, frameBytes, flushAfterMs };
  }

  #stop(cause: { readonly error: unknown } | 'interrupted'): void {
    this.#cause ??= cause;
    this.#tellStopped();
    this.#transfer?.cancel();
  }

  #fail(error: unknown): void {
    this.#stop({ error });
  }

  readonly #onAbort = (): void => this.#fail(this.#passage.signal.reason);

  readonly #onClientClose = (): void => {
    // after the last byte a client that leaves changes nothing: the body is whole, the upstream decides
    if (!this.#passage.progress.endReceived) this.#fail(this.#clientGone());
  };

  #clientGone(): GatewayError {
    return clientLeft(this.#passage.progress.receivedBytes);
  }

  #askForMore(): void {
    this.#passage.allowMore().then(
      (allowedBytes) => this.#transfer?.allow(allowedBytes),
      (error: unknown) => this.#fail(error),
    );
  }

  /** Node's parser learns how far the body has come, so that what follows on the connection is read for what it is. */
  #takeBack(ended: Ended | null): void {
    const { client } = this.#passage;
    // nobody else has seen the reset of a connection that was not read
    if (ended?.end.how === 'source-lost') client.socket.destroy();
    if (client.destroyed || client.socket.destroyed) return;
    // nobody may have read in between: the body would have a hole
    if (client.socket.bytesRead !== this.#readBytes)
      throw new Error('Node has read bytes of a body that the kernel moved');
    this.#way.parser.skip(this.#passed(ended));
    this.#way.parser.readOn();
    if (ended !== null && ended.ahead.length > 0) this.#way.parser.take(ended.ahead);
    // the end of the body that the parser has seen is to reach whoever waits for it
    if (client.complete) client.resume();
  }

  #passed(ended: Ended | null): BridgePiece[] {
    const { position } = this.#way;
    const dataBytes = this.#passage.progress.receivedBytes - this.#prefixBytes;
    if (position === null) return [dataBytes];
    // of what a thread that died had read nobody knows where it ends
    return ended === null || ended.position === null
      ? []
      : bridgeBetween(position, ended.position, dataBytes);
  }

  #conclude(end: TransferEnd | null): Carried {
    const { progress, end: gate } = this.#passage;
    // of what a thread that died had claimed nobody knows whether it was sent
    progress.endSent = end === null ? gate.isClaimed : end.how === 'sent';
    if (this.#cause === 'interrupted') return 'interrupted';
    if (this.#cause !== null) throw this.#cause.error;
    switch (end?.how) {
      case 'sent':
        return 'sent';
      case 'sink-lost':
        return 'interrupted';
      case 'source-ended':
      case 'source-lost':
        throw this.#clientGone();
      case 'refused': {
        const { code, detail, ending, facts } = end;
        throw new GatewayError(code, detail, { ending, facts });
      }
      case 'unwatched':
        throw new GatewayError(
          'internal',
          `The kernel does not watch the connections of the body (errno ${end.errno}).`,
        );
      default:
        throw new GatewayError('internal', 'The thread that moved the body has died.');
    }
  }

  /** The other thread moves on meanwhile, so who is near is not asked again when it is met. */
  #nearestMs(): number {
    let nearestMs = Infinity;
    const consider = (leftMs: number, met: () => void): void => {
      if (leftMs >= nearestMs) return;
      nearestMs = leftMs;
      this.#onNearest = met;
    };
    consider(this.#silenceLeftMs(), () => this.#onClientSilent());
    consider(this.#chunkLeftMs(), () => this.#onChunkLate());
    consider(this.#rateLeftMs(), () => this.#onTooSlow());
    consider(this.#bodyLeftMs(), () => this.#onTimeOver());
    return nearestMs;
  }

  #silenceLeftMs(): number {
    const { clientSocketTimeoutMs } = this.#passage;
    const record = this.#transfer?.record;
    if (clientSocketTimeoutMs === 0 || record === undefined) return Infinity;
    // its time begins anew when it is waited for again: until then there is all of it
    if (record.awaited !== 'client') return clientSocketTimeoutMs;
    return clientSocketTimeoutMs - (monotonicMs() - record.lastByteMs);
  }

  #chunkLeftMs(): number {
    const { chunkTimeoutMs } = this.#passage;
    const record = this.#transfer?.record;
    if (chunkTimeoutMs === 0 || record === undefined) return Infinity;
    return chunkTimeoutMs - record.chunkWaitedMs(monotonicMs());
  }

  #rateLeftMs(): number {
    const record = this.#transfer?.record;
    const { leastRate } = this.#passage;
    if (leastRate === null || record === undefined) return Infinity;
    const { rateDueMs, rateLeftMs } = record;
    // while its time stands still it cannot be late before what was left of it has passed
    if (rateDueMs === Infinity) return Math.max(1, Math.min(leastRate.perMs, rateLeftMs));
    return rateDueMs - monotonicMs();
  }

  /** What the gateway itself was waited for is nobody's fault. */
  #bodyLeftMs(): number {
    const nowMs = monotonicMs();
    return (
      this.#bodyLimitMs() - (nowMs - this.#beganMs) + (this.#transfer?.record.waitedMs('gateway', nowMs) ?? 0)
    );
  }

  #bodyLimitMs(): number {
    const { timeLimit, declaredBytes, progress } = this.#passage;
    return timeFor(timeLimit, declaredBytes ?? progress.receivedBytes);
  }

  #onClientSilent(): void {
    this.#fail(clientSilent(this.#passage.clientSocketTimeoutMs));
  }

  #onChunkLate(): void {
    const { chunkTimeoutMs, progress } = this.#passage;
    this.#fail(chunkNotTaken(chunkTimeoutMs, progress.sentBytes));
  }

  #onTooSlow(): void {
    const { leastRate } = this.#passage;
    if (leastRate === null) return;
    this.#fail(clientBelowRate(leastRate, this.#transfer?.record.lotBytes ?? 0));
  }

  #onTimeOver(): void {
    const nowMs = monotonicMs();
    const record = this.#transfer?.record;
    const clientMs = record?.waitedMs('client', nowMs) ?? 0;
    const upstreamMs = record?.waitedMs('upstream', nowMs) ?? 0;
    this.#fail(notInTime(this.#bodyLimitMs(), clientMs, upstreamMs));
  }
}
