import {
  chunkNotTaken,
  clientBelowRate,
  clientLeft,
  clientSilent,
  longerThanAllowed,
  longerThanDeclared,
  notInTime,
  shorterThanDeclared,
} from '../core/body-error.ts';
import { blockBytes } from '../core/byte-queue.ts';
import { type Cutter, FrameCutter, LengthCutter, type Write } from '../core/cutter.ts';
import { RateWatch } from '../core/least-rate.ts';
import { silenceMs } from '../core/silence.ts';
import { timeFor } from '../core/time-limit.ts';
import { Waits } from '../core/waits.ts';
import { Deadline } from './deadline.ts';
import { type Carried, inFrames, type Lane, type Passage } from './lane.ts';

/** Moves bytes in JavaScript, through the streams of Node. Works everywhere. */
export class StreamLane implements Lane {
  readonly name = 'stream';

  prepare(): void {}

  carry(passage: Passage): Promise<Carried> {
    return new Carriage(passage).carry();
  }
}

/**
 * One body under way. Three parties push it on: the client's bytes, the upstream's readiness, and
 * the allowance; each ends in `#pump`, which writes at most one block and then waits for a turn of the
 * event loop, so that an early answer is read before the next write can fail (design §8).
 *
 * Whose fault a lack of progress is: the client is judged only while it is read from, the upstream only while it does not take
 * what it was given. There is no timer per block, but one lazy timer for each deadline.
 */
class Carriage {
  readonly #passage: Passage;
  readonly #cutter: Cutter;
  readonly #holdBytes: number;
  /** Reads on when no more than this is held; for frames a whole one, or one that is never filled would wait for ever. */
  readonly #resumeBytes: number;
  #resolve: (carried: Carried) => void = () => {};
  #reject: (error: unknown) => void = () => {};
  #settled = false;

  #allowedBytes: number;
  /** Sent on without going through the cutter. */
  #besideBytes = 0;
  #asking = false;
  #paused = false;
  #clientEnded = false;
  /** The rest of the body is its end, and that is held. */
  #endHeld = false;
  #endWritten = false;

  /** The upstream has taken the last write, and the event loop has turned since. */
  #ready = true;
  /** The upstream has not taken the last write yet. */
  #blocked = false;
  readonly #beganMs = performance.now();
  readonly #waits = new Waits(this.#beganMs);
  /** The wait for the upstream before the chunk under way began. */
  #waitedBeforeMs = 0;
  #chunkStartBytes = 0;
  readonly #rate: RateWatch | null;
  readonly #chunkDeadline = new Deadline(
    (nowMs) => this.#chunkLeftMs(nowMs),
    () => this.#onChunkLate(),
  );
  readonly #rateDeadline = new Deadline(
    (nowMs) => this.#rate?.leftMs(nowMs) ?? Infinity,
    () => this.#onTooSlow(),
  );
  readonly #bodyDeadline = new Deadline(
    // what the gateway itself was waited for is nobody's fault
    (nowMs) => this.#bodyLimitMs() - (nowMs - this.#beganMs) + this.#waits.ofMs('gateway', nowMs),
    () => this.#onTimeOver(),
  );

  /** Counted in `buffered` until now. */
  #countedBytes = 0;

  #flush = false;
  #fillingSinceMs = 0;
  #flushTimer: NodeJS.Timeout | undefined;
  /** Received when the flush timer was set; null where the client was held back then. */
  #seenBytes: number | null = null;

  constructor(passage: Passage) {
    this.#passage = passage;
    this.#allowedBytes = passage.allowedBytes;
    this.#rate = passage.leastRate === null ? null : new RateWatch(passage.leastRate, this.#beganMs);
    if (inFrames(passage)) {
      this.#cutter = new FrameCutter(passage.frameBytes);
      // a quarter of a frame may gather while the one before it drains: enough to keep the upstream busy
      this.#holdBytes = passage.frameBytes + Math.max(passage.frameBytes / 4, blockBytes);
      this.#resumeBytes = passage.frameBytes;
    } else {
      this.#cutter = new LengthCutter();
      // no frame has to fill, and bytes that wait leave the processor's cache and outlive the young generation of V8; but a
      // last byte that is held until the end has come must not keep the end from being read
      this.#holdBytes = blockBytes;
      this.#resumeBytes = blockBytes / 2;
    }
  }

  carry(): Promise<Carried> {
    const { client, upstream, end, signal, interrupted } = this.#passage;
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      if (signal.aborted) return this.#fail(signal.reason);
      if (client.destroyed) return this.#onClientClose();
      signal.addEventListener('abort', this.#onAbort);
      client.on('data', this.#onData);
      client.on('end', this.#onEnd);
      client.on('error', this.#onClientClose);
      client.on('close', this.#onClientClose);
      client.on('timeout', this.#onClientSilent);
      upstream.on('drain', this.#onDrain);
      end.onFree = () => this.#pump();
      void interrupted.then(() => this.#finish('interrupted'));
      this.#chunkDeadline.arm();
      this.#rateDeadline.arm();
      this.#bodyDeadline.arm();
      this.#read();
    });
  }

  readonly #onData = (piece: Buffer): void => {
    const { progress, declaredBytes, maxBytes } = this.#passage;
    progress.receivedBytes += piece.length;
    this.#rate?.receive(piece.length, performance.now());
    if (declaredBytes !== null && progress.receivedBytes > declaredBytes) {
      return this.#fail(longerThanDeclared(declaredBytes));
    }
    if (maxBytes > 0 && progress.receivedBytes > maxBytes) return this.#fail(longerThanAllowed(maxBytes));
    // the usual case of a fast upstream: straight through, without a copy
    if (
      declaredBytes !== null &&
      this.#ready &&
      this.#cutter.heldBytes === 0 &&
      piece.length <= blockBytes &&
      progress.receivedBytes <= this.#mayBeSentBytes()
    ) {
      this.#besideBytes += piece.length;
      return this.#write({ parts: [piece], bodyBytes: piece.length });
    }
    if (declaredBytes === null && this.#cutter.heldBytes === 0) this.#startFilling();
    this.#cutter.push(piece);
    if (progress.receivedBytes > this.#allowedBytes) this.#askForMore();
    this.#countHeld();
    this.#steerClient();
    this.#pump();
  };

  readonly #onEnd = (): void => {
    const { declaredBytes, progress } = this.#passage;
    if (declaredBytes !== null && progress.receivedBytes < declaredBytes) {
      return this.#fail(shorterThanDeclared(progress.receivedBytes, declaredBytes));
    }
    this.#clientEnded = true;
    this.#rateDeadline.end();
    this.#pump();
  };

  readonly #onClientClose = (): void => {
    // after the last byte a client that leaves changes nothing: the body is whole, the upstream decides
    if (this.#clientEnded) return;
    this.#fail(clientLeft(this.#passage.progress.receivedBytes));
  };

  /** Node says that nothing moved on the client's socket for `client_socket_timeout`. */
  readonly #onClientSilent = (): void => {
    const { client, clientSocketTimeoutMs, progress } = this.#passage;
    const { receivedBytes } = progress;
    // Node's timers fire before its sockets are read: what came in while this thread was busy is no silence
    setImmediate(() => {
      if (this.#settled || progress.receivedBytes > receivedBytes) return;
      if (this.#paused || this.#clientEnded) {
        // it is not the client who is slow: nobody reads from it. Node's timer is spent, so wind it up again
        client.socket.setTimeout(clientSocketTimeoutMs);
        return;
      }
      this.#fail(clientSilent(clientSocketTimeoutMs));
    });
  };

  readonly #onAbort = (): void => this.#fail(this.#passage.signal.reason);

  readonly #onDrain = (): void => {
    if (!this.#blocked) return;
    this.#block(false);
    if (this.#endWritten) this.#finish('sent');
    else setImmediate(this.#onTurn);
  };

  readonly #onTurn = (): void => {
    if (this.#settled) return;
    this.#ready = true;
    this.#countHeld();
    this.#pump();
  };

  #chunkLeftMs(nowMs: number): number {
    const { chunkTimeoutMs } = this.#passage;
    if (chunkTimeoutMs === 0) return Infinity;
    return chunkTimeoutMs - (this.#waits.ofMs('upstream', nowMs) - this.#waitedBeforeMs);
  }

  #onChunkLate(): void {
    const { chunkTimeoutMs, progress } = this.#passage;
    this.#fail(chunkNotTaken(chunkTimeoutMs, progress.sentBytes));
  }

  #onTooSlow(): void {
    const { leastRate } = this.#passage;
    if (this.#rate === null || leastRate === null) return;
    this.#fail(clientBelowRate(leastRate, this.#rate.lotBytes));
  }

  #bodyLimitMs(): number {
    const { timeLimit, declaredBytes, progress } = this.#passage;
    return timeFor(timeLimit, declaredBytes ?? progress.receivedBytes);
  }

  #onTimeOver(): void {
    const nowMs = performance.now();
    this.#fail(
      notInTime(this.#bodyLimitMs(), this.#waits.ofMs('client', nowMs), this.#waits.ofMs('upstream', nowMs)),
    );
  }

  readonly #onFlushTimer = (): void => {
    this.#flushTimer = undefined;
    // Node's timers fire before its sockets are read: what came in while this thread was busy is no silence
    setImmediate(this.#lookAtFrame);
  };

  /** Sends what there is of a frame, if it has waited long enough or nothing more comes. */
  readonly #lookAtFrame = (): void => {
    if (this.#settled || this.#flushTimer !== undefined || this.#cutter.heldBytes === 0) return;
    const { flushAfterMs, progress } = this.#passage;
    const leftMs = flushAfterMs - (performance.now() - this.#fillingSinceMs);
    // a client that has fallen silent fills no frame: what it leaves would only take up memory
    const silent = !this.#paused && progress.receivedBytes === this.#seenBytes;
    if (leftMs > 0 && !silent) return this.#armFlush(leftMs);
    this.#flush = true;
    this.#pump();
  };

  /** The oldest byte of a new frame has arrived: it may wait for `flushAfterMs`. */
  #startFilling(): void {
    this.#flush = false;
    this.#fillingSinceMs = performance.now();
    if (this.#flushTimer === undefined) this.#armFlush(this.#passage.flushAfterMs);
  }

  #armFlush(leftMs: number): void {
    const { flushAfterMs, progress } = this.#passage;
    // whoever is held back is not silent
    this.#seenBytes = this.#paused ? null : progress.receivedBytes;
    const waitMs = Math.ceil(Math.min(leftMs, silenceMs(flushAfterMs)));
    this.#flushTimer = setTimeout(this.#onFlushTimer, waitMs);
  }

  #pump(): void {
    if (this.#settled || !this.#ready || this.#endWritten) return;
    const framesBefore = this.#cutter.heldBytes;
    const write = this.#cutter.take(
      this.#mayBeSentBytes() - this.#besideBytes,
      this.#flush || this.#clientEnded || this.#passage.buffered.full,
    );
    if (write !== null) {
      // only a frame's last write ends with its CRLF: what is still held then begins the next frame
      if (
        this.#passage.declaredBytes === null &&
        write.parts.at(-1) === '\r\n' &&
        framesBefore > write.bodyBytes
      ) {
        this.#startFilling();
      }
      this.#write(write);
      this.#steerClient();
    } else if (this.#clientEnded && this.#cutter.heldBytes === 0 && this.#mayEnd()) {
      this.#endWritten = true;
      const end = this.#cutter.end();
      if (end !== null) this.#write(end);
      if (!this.#passage.upstream.writableNeedDrain) this.#whenFlushed();
    } else this.#steerClient();
  }

  /**
   * Of the body in all; the last byte of a promised length only when the client's framing has kept the promise, and the end is
   * not held. Asked right before a write.
   */
  #mayBeSentBytes(): number {
    const { declaredBytes, endFollows, progress } = this.#passage;
    if (declaredBytes === null) return this.#allowedBytes;
    const whole = progress.receivedBytes === declaredBytes && (this.#clientEnded || !endFollows);
    const lastBlock = declaredBytes - progress.sentBytes <= blockBytes;
    if (whole && lastBlock && this.#mayEnd()) return this.#allowedBytes;
    return Math.min(this.#allowedBytes, declaredBytes - 1);
  }

  #mayEnd(): boolean {
    const held = !this.#passage.end.claim();
    if (held === this.#endHeld) return !held;
    this.#endHeld = held;
    this.#turn();
    return !held;
  }

  /**
   * Node emits no `drain` for a write that it never refused: its callback tells when it has left. The upstream is waited for
   * all the same: it may have stopped reading just here.
   */
  #whenFlushed(): void {
    const { upstream } = this.#passage;
    if (upstream.writableLength === 0) return this.#finish('sent');
    this.#block(true);
    upstream.write('', (error) => {
      if (!error) this.#finish('sent');
    });
  }

  #write({ parts, bodyBytes }: Write): void {
    const { upstream, progress, chunkBytes } = this.#passage;
    this.#ready = false;
    if (parts.length > 1) upstream.cork();
    for (const part of parts) upstream.write(part, 'latin1');
    if (parts.length > 1) upstream.uncork();
    progress.sentBytes += bodyBytes;
    this.#countHeld();
    if (progress.sentBytes - this.#chunkStartBytes >= chunkBytes) {
      this.#chunkStartBytes = progress.sentBytes;
      this.#waitedBeforeMs = this.#waits.ofMs('upstream', performance.now());
    }
    if (upstream.writableNeedDrain) this.#block(true);
    else setImmediate(this.#onTurn);
  }

  /** Reads on while there is room and leave for more bytes; stops reading otherwise. */
  #steerClient(): void {
    const { client, buffered } = this.#passage;
    const held = this.#cutter.heldBytes;
    // with no room for all, each holds a block: what there is goes on, and nobody waits for a frame to fill
    const holdBytes = buffered.full ? Math.min(this.#holdBytes, blockBytes) : this.#holdBytes;
    const resumeBytes = buffered.full ? Math.min(this.#resumeBytes, blockBytes / 2) : this.#resumeBytes;
    if (!this.#paused && (this.#asking || held >= holdBytes)) {
      this.#paused = true;
      client.pause();
      this.#rate?.hold(performance.now());
    } else if (this.#paused && !this.#asking && held <= resumeBytes) {
      this.#paused = false;
      this.#read();
    }
  }

  #countHeld(): void {
    const { buffered, upstream } = this.#passage;
    const heldBytes = this.#cutter.heldBytes + upstream.writableLength;
    buffered.add(heldBytes - this.#countedBytes);
    this.#countedBytes = heldBytes;
  }

  /** Reads from the client, whose time begins now, whatever passed while nobody did. */
  #read(): void {
    const { client, clientSocketTimeoutMs } = this.#passage;
    client.socket.setTimeout(clientSocketTimeoutMs);
    if (this.#rate !== null) {
      this.#rate.release(performance.now());
      this.#rateDeadline.arm();
    }
    client.resume();
  }

  #block(blocked: boolean): void {
    this.#blocked = blocked;
    this.#turn();
  }

  /** Whom the upload waits for may have changed. */
  #turn(): void {
    const awaited = this.#blocked ? 'upstream' : this.#asking || this.#endHeld ? 'gateway' : 'client';
    if (awaited !== this.#waits.awaited) this.#waits.turnTo(awaited, performance.now());
  }

  #askForMore(): void {
    if (this.#asking) return;
    this.#asking = true;
    this.#turn();
    this.#passage.allowMore().then(
      (allowedBytes) => {
        this.#asking = false;
        this.#turn();
        if (this.#settled) return;
        this.#allowedBytes = allowedBytes;
        if (this.#passage.progress.receivedBytes > allowedBytes) this.#askForMore();
        this.#steerClient();
        this.#pump();
      },
      (error: unknown) => this.#fail(error),
    );
  }

  #finish(carried: Carried): void {
    if (this.#settle()) this.#resolve(carried);
  }

  #fail(error: unknown): void {
    if (this.#settle()) this.#reject(error);
  }

  /** True the first time. */
  #settle(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    this.#passage.buffered.add(-this.#countedBytes);
    const { client, upstream, end, signal, progress, declaredBytes } = this.#passage;
    const written = this.#endWritten || (!inFrames(this.#passage) && progress.sentBytes === declaredBytes);
    // what still waits in the socket is thrown away by the reset that follows
    progress.endSent = written && upstream.writableLength === 0;
    for (const deadline of [this.#chunkDeadline, this.#rateDeadline, this.#bodyDeadline]) deadline.end();
    clearTimeout(this.#flushTimer);
    signal.removeEventListener('abort', this.#onAbort);
    client.off('data', this.#onData);
    client.off('end', this.#onEnd);
    client.off('error', this.#onClientClose);
    client.off('close', this.#onClientClose);
    client.off('timeout', this.#onClientSilent);
    upstream.off('drain', this.#onDrain);
    end.onFree = null;
    client.pause();
    return true;
  }
}
