import { subscribe } from 'node:diagnostics_channel';
import { Socket } from 'node:net';
import { type buildConnector, errors } from 'undici';
import { AnswerHeads } from '../core/answer-heads.ts';

/**
 * A connection of a pool of undici's that never breaks in a way that looks whole.
 *
 * Towards the API: undici closes what it gives up, and a request that was cut by an orderly close is one that ended, for
 * servers that do not count its bytes (eventlet). So what fails is reset.
 * From the API: undici takes a reset for the end of an answer that has no framing but the connection's end. So a reset goes
 * by another name here. And what undici's parser cannot judge is judged before it (`AnswerHeads`).
 */
class PooledSocket extends Socket {
  #reason: Error | null = null;
  readonly #heads = new AnswerHeads();

  /** A request is about to go out. */
  expectAnswer(): void {
    this.#heads.expect();
  }

  override push(piece: unknown, encoding?: BufferEncoding): boolean {
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

/** @param timeoutMs for the connection to stand; 0 = as long as the kernel tries. */
export function pooledConnector(timeoutMs: number): buildConnector.connector {
  return ({ hostname, port }, callback) => {
    const socket = new PooledSocket();
    const timer = setTimeout(
      () => socket.destroy(new errors.ConnectTimeoutError('no connection in time')),
      // 0 would be at once
      timeoutMs > 0 ? timeoutMs : longestTimerMs,
    );
    const onError = (error: Error): void => {
      clearTimeout(timer);
      callback(error, null);
    };
    socket.once('error', onError);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', onError);
      callback(null, socket);
    });
    const host = hostname.replace(/^\[|\]$/g, '');
    socket.connect({ host, port: Number(port || 80), noDelay: true, keepAlive: true });
  };
}

/** Node counts no further: 24 days. */
const longestTimerMs = 2 ** 31 - 1;
