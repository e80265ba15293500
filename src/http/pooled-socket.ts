import { subscribe } from 'node:diagnostics_channel';
import { Socket } from 'node:net';
import { AnswerHeads } from '../core/answer-heads.ts';
import { GatewayError } from '../core/errors.ts';
import { stopReading } from './descriptor.ts';
import type { GiveUp } from './give-up.ts';
import { upstreamError } from './upstream-error.ts';

/** Reads what comes in past the stream. */
export interface PlainReader {
  take(bytes: Buffer): void;
}

/**
 * A connection of a pool that never breaks in a way that looks whole.
 *
 * Towards the API: undici closes what it gives up, and a request that was cut by an orderly close is one that ended, for
 * servers that do not count its bytes (eventlet). So what fails is reset.
 * From the API: undici takes a reset for the end of an answer that has no framing but the connection's end. So a reset goes
 * by another name here. And what undici's parser cannot judge is judged before it (`AnswerHeads`).
 */
export class PooledSocket extends Socket {
  #reason: Error | null = null;
  readonly #heads = new AnswerHeads();
  #held = false;
  /** No stream and no parser of undici's has been needed yet. */
  #plain = true;
  /** What has come in while undici is being told of a request that went out without it. */
  #untold: unknown[] | null = null;
  /** Gets what comes in; null while nothing is asked. */
  plainReader: PlainReader | null = null;

  /** A request is about to go out. */
  expectAnswer(): void {
    this.#heads.expect();
  }

  /** Nothing more is read from the connection: somebody else does, by its descriptor. What was read already stays to be had. */
  holdReading(): void {
    this.#held = true;
    stopReading(this);
  }

  readOn(): void {
    if (!this.#held) return;
    this.#held = false;
    // the stream has asked while nobody answered, and does not ask again
    super._read(0);
  }

  override _read(bytes: number): void {
    if (!this.#held) super._read(bytes);
  }

  /** From now on undici reads, and the next request that it writes is thrown away: the server has it already. */
  handOver(begun: Buffer): void {
    this.#untold = [begun];
  }

  /** From now on undici reads, or as soon as it has been handed over. */
  parsed(): void {
    if (this.#untold === null) this.#plain = false;
  }

  override _write(chunk: unknown, encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    if (this.#untold === null) return super._write(chunk, encoding, callback);
    const untold = this.#untold;
    this.#untold = null;
    this.#plain = false;
    callback();
    process.nextTick(() => {
      for (const piece of untold) this.push(piece);
    });
  }

  #pushPlain(piece: unknown): boolean {
    if (this.#untold !== null) this.#untold.push(piece);
    else if (this.plainReader !== null && Buffer.isBuffer(piece)) this.plainReader.take(piece);
    // its end, or what nobody has asked for
    else this.destroy();
    return true;
  }

  override push(piece: unknown, encoding?: BufferEncoding): boolean {
    if (this.#plain) return this.#pushPlain(piece);
    if (!Buffer.isBuffer(piece)) return super.push(piece, encoding);
    try {
      const passed = this.#heads.take(piece);
      return passed.length === 0 || super.push(passed);
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error(String(error)));
      return false;
    }
  }

  override destroy(error?: Error): this {
    if (error === undefined || this.destroyed || this.#reason !== null) return super.destroy(error);
    if ('syscall' in error) return super.destroy(renamed(error));
    // a connection that has begun to end can no longer be reset (libuv: EINVAL) and would never close
    if (this.connecting || this.writableEnded) return super.destroy(error);
    this.#reason = error;
    // calls this method again, without an error
    return this.resetAndDestroy();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    super._destroy(error ?? this.#reason, callback);
  }
}

// the one place where undici tells which socket a request goes to
subscribe('undici:client:sendHeaders', (message) => {
  if (typeof message !== 'object' || message === null || !('socket' in message)) return;
  if (message.socket instanceof PooledSocket) message.socket.expectAnswer();
});

function renamed(error: Error): Error {
  if (!('code' in error) || error.code !== 'ECONNRESET') return error;
  return new Error('the API reset the connection', { cause: error });
}

/**
 * Opens a connection.
 * @param timeoutMs for the connection to stand; 0 = as long as the kernel tries.
 * @throws GatewayError `upstream-unreachable`, `upstream-connect-timeout`, or what the signal's reason means.
 */
export function openSocket(
  { hostname, port }: URL,
  timeoutMs: number,
  signal: GiveUp | undefined,
): Promise<PooledSocket> {
  return new Promise((resolve, reject) => {
    const socket = new PooledSocket();
    const settle = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      socket.off('error', onError);
    };
    const fail = (error: GatewayError): void => {
      settle();
      socket.on('error', () => {});
      socket.destroy();
      reject(error);
    };
    const onError = (cause: Error): void =>
      fail(
        new GatewayError('upstream-unreachable', 'The connection was refused or cannot be made.', { cause }),
      );
    const onAbort = (): void => fail(upstreamError(signal?.reason));
    const timer =
      timeoutMs > 0
        ? setTimeout(
            () => fail(new GatewayError('upstream-connect-timeout', 'No connection in time.')),
            timeoutMs,
          )
        : undefined;
    socket.once('error', onError);
    socket.once('connect', () => {
      settle();
      resolve(socket);
    });
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted) return onAbort();
    const host = hostname.replace(/^\[|\]$/g, '');
    socket.connect({ host, port: Number(port || 80), noDelay: true, keepAlive: true });
  });
}
