import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { Socket } from 'node:net';
import { GatewayError } from '../core/errors.ts';
import { KiB, MiB } from '../core/units.ts';
import { unlessAborted } from '../unless-aborted.ts';
import { checkCoding, checkStatus, checkVersion } from './upstream-error.ts';

/** The most of an answer to an upload that is relayed. Glance's largest is a few hundred bytes. */
const mostAnswerBytes = MiB;

/** How long an answer is looked for after a write to the upstream has failed. */
const lastWordMs = 1_000;

export interface UpstreamAnswer {
  readonly status: number;
  /** As Node's `rawHeaders`: names and values in turn. */
  readonly headers: readonly string[];
  readonly body: Buffer;
}

/**
 * A socket that a failed write does not close. Node would close it, and throw away what comes in from then on: the 413 of a
 * server that refused and hung up while the body was still flowing, which lies in the kernel and can be read there even
 * after a reset. So the stream is never told: it waits for the failed write for ever, and writes nothing more.
 * Reading goes on until the peer's end, or for `lastWordMs`.
 *
 * Keeping `destroy` from closing would not do: to a stream that knows of an error, `push` adds nothing.
 */
class UploadSocket extends Socket {
  /** The whole body is with the kernel: from here on an ordinary close says nothing wrong. */
  bodySent = false;

  constructor() {
    super({ allowHalfOpen: true });
  }

  override _write(chunk: unknown, encoding: BufferEncoding, callback: WriteCallback): void {
    super._write(chunk, encoding, this.#unlessFailed(callback));
  }

  override _writev(chunks: { chunk: unknown; encoding: BufferEncoding }[], callback: WriteCallback): void {
    super._writev?.(chunks, this.#unlessFailed(callback));
  }

  // Node ends its side when an answer is whole or the peer has ended its own. A connection that has begun to end can no
  // longer be reset (libuv: EINVAL) and would never close, so an end of Node's becomes one of ours.
  override end(): this {
    return this;
  }

  override destroySoon(): void {
    if (this.bodySent) this.destroy();
    else this.resetAndDestroy();
  }

  #unlessFailed(callback: WriteCallback): WriteCallback {
    return (error) => {
      if (error == null) return callback();
      if (this.destroyed) return callback(error);
      this.emit('write-failed');
      const giveUp = setTimeout(() => this.destroy(error), lastWordMs);
      this.once('close', () => clearTimeout(giveUp));
    };
  }
}

type WriteCallback = (error?: Error | null) => void;

export interface LegOptions {
  readonly origin: URL;
  readonly method: string;
  readonly target: string;
  /** Names and values in turn, framing included; goes out as it is. */
  readonly headers: readonly string[];
  /** 0 = as long as the kernel tries. */
  readonly connectTimeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * The way from here to the upstream for one upload: a connection of its own, never one that was used
 * before, because a kept-alive connection that the server closes at the wrong moment would cost
 * the whole body (docs/decisions/0002).
 */
export class UpstreamLeg {
  readonly socket: UploadSocket;
  /** Resolves when the upstream begins to answer, or can no longer be written to. */
  readonly interrupted: Promise<void>;
  /** Resolves when the upstream asks for the body. */
  readonly #continued: Promise<void>;
  /** Resolves when the connection is gone: its descriptor closed, a reset on its way. */
  readonly #closed: Promise<void>;
  readonly #answered: Promise<UpstreamAnswer>;

  private constructor(socket: UploadSocket, sent: ClientRequest) {
    this.socket = socket;
    // what fails is told by #answered; a socket without any listener would end the process
    socket.on('error', () => {});
    this.#closed = new Promise((resolve) => socket.on('close', () => resolve()));
    this.#continued = new Promise((resolve) => sent.on('continue', () => resolve()));
    this.#answered = receive(sent);
    // whoever does not wait for the answer must not crash the process with its failure
    this.#answered.catch(() => {});
    this.interrupted = new Promise((resolve) => {
      sent.on('response', () => resolve());
      sent.on('error', () => resolve());
      socket.on('write-failed', () => resolve());
      socket.on('close', () => resolve());
    });
  }

  /** Connects and writes the head. Throws `upstream-unreachable`, `upstream-connect-timeout`, or the signal's reason. */
  static async open(options: LegOptions): Promise<UpstreamLeg> {
    const { origin, signal, connectTimeoutMs } = options;
    signal.throwIfAborted();
    const socket = new UploadSocket();
    const sent = request({
      createConnection: () => socket,
      method: options.method,
      path: options.target,
      headers: options.headers,
      maxHeaderSize: 64 * KiB,
    });
    const leg = new UpstreamLeg(socket, sent);
    // flushHeaders would write them as UTF-8, and every byte beyond ASCII as two
    sent.write('', 'latin1');
    const host = origin.hostname.replace(/^\[|\]$/g, '');
    socket.connect({ host, port: Number(origin.port || 80), noDelay: true, keepAlive: true });
    try {
      await connected(socket, connectTimeoutMs, signal);
    } catch (error) {
      await leg.reset();
      throw error;
    }
    return leg;
  }

  /**
   * For a head with `Expect: 100-continue`: true when the upstream has asked for the body, or has said nothing for `waitMs`
   * (RFC 9110 §10.1.1: nobody waits for ever); false when it has begun to answer, or is gone. Throws the signal's reason.
   */
  async mayContinue(waitMs: number, signal: AbortSignal): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const waited = new Promise<boolean>((resolve) => {
      timer = setTimeout(resolve, waitMs, true);
    });
    const interrupted = this.interrupted.then(() => false);
    const continued = this.#continued.then(() => true);
    try {
      return await unlessAborted(signal, Promise.race([interrupted, continued, waited]));
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * The upstream's answer, whole.
   * Throws `upstream-timeout` after `timeoutMs` without an answer (0 = waits for ever), `upstream-lost`,
   * `upstream-invalid`, or the signal's reason.
   */
  async answer(timeoutMs: number, signal: AbortSignal): Promise<UpstreamAnswer> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      if (timeoutMs === 0) return;
      timer = setTimeout(() => {
        const detail = `The API did not answer within ${timeoutMs / 1000} s of the end of the body.`;
        reject(new GatewayError('upstream-timeout', detail, { ending: 'upstream-stalled' }));
      }, timeoutMs);
    });
    try {
      return await unlessAborted(signal, Promise.race([this.#answered, late]));
    } finally {
      clearTimeout(timer);
    }
  }

  /** Tells that the body was sent to its end. */
  markBodySent(): void {
    this.socket.bodySent = true;
  }

  /**
   * Ends the connection and waits until it is gone: by a TCP reset, because a cut body must not look whole. Only after a
   * whole exchange, which Node has closed already, there is nothing left to reset.
   */
  async reset(): Promise<void> {
    if (this.socket.connecting) this.socket.destroy();
    else if (!this.socket.destroyed) this.socket.resetAndDestroy();
    await this.#closed;
  }
}

function connected(socket: Socket, timeoutMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer =
      timeoutMs > 0
        ? setTimeout(() => {
            const detail = `No connection within ${timeoutMs / 1000} s.`;
            fail(new GatewayError('upstream-connect-timeout', detail, { ending: 'upstream-lost' }));
          }, timeoutMs)
        : undefined;
    const onConnect = (): void => {
      release();
      resolve();
    };
    const onError = (cause: Error): void => {
      const detail = 'The connection was refused or cannot be made.';
      fail(new GatewayError('upstream-unreachable', detail, { ending: 'upstream-lost', cause }));
    };
    const onAbort = (): void => fail(signal.reason);
    const release = (): void => {
      clearTimeout(timer);
      socket.off('connect', onConnect);
      socket.off('error', onError);
      signal.removeEventListener('abort', onAbort);
    };
    const fail = (error: unknown): void => {
      release();
      reject(error);
    };
    socket.once('connect', onConnect);
    socket.on('error', onError);
    signal.addEventListener('abort', onAbort);
  });
}

function receive(sent: ClientRequest): Promise<UpstreamAnswer> {
  return new Promise((resolve, reject) => {
    const lost = (cause?: unknown): void => {
      const invalid = cause instanceof Error && 'code' in cause && String(cause.code).startsWith('HPE_');
      const detail = invalid
        ? 'The answer of the API cannot be parsed.'
        : 'The API closed the connection without a whole answer.';
      reject(
        new GatewayError(invalid ? 'upstream-invalid' : 'upstream-lost', detail, {
          ending: 'upstream-lost',
          cause,
        }),
      );
    };
    // once there is a head, its body tells: it may lie here whole although the connection is reset already
    let begun = false;
    // an error costs a trace of the stack, and the close comes after every answer
    let whole = false;
    const lostBefore = (cause?: unknown): void => {
      if (!begun) lost(cause);
    };
    sent.on('error', lostBefore);
    sent.on('close', () => lostBefore());
    sent.on('upgrade', (_response, socket) => {
      socket.destroy();
      lost();
    });
    sent.once('response', (response: IncomingMessage) => {
      begun = true;
      const { statusCode = 0 } = response;
      try {
        checkVersion(response.httpVersion);
        checkStatus(statusCode);
        checkCoding(response.rawHeaders);
      } catch (error) {
        reject(error);
        response.destroy();
        return;
      }
      const pieces: Buffer[] = [];
      let bytes = 0;
      response.on('data', (piece: Buffer) => {
        bytes += piece.length;
        pieces.push(piece);
        if (bytes > mostAnswerBytes) {
          const detail = `The API answered an upload with more than ${mostAnswerBytes} bytes.`;
          reject(new GatewayError('upstream-invalid', detail, { ending: 'upstream-lost' }));
          response.destroy();
        }
      });
      response.on('error', lost);
      response.on('close', () => {
        if (!whole) lost();
      });
      response.on('end', () => {
        // where nothing else frames the answer its end is the connection's, and Node takes a reset for one
        if (framedByEnd(response) && sent.socket?.errored) return lost(sent.socket.errored);
        whole = true;
        resolve({
          status: statusCode,
          headers: response.rawHeaders,
          body: Buffer.concat(pieces),
        });
      });
    });
  });
}

function framedByEnd({ statusCode, headers }: IncomingMessage): boolean {
  if (statusCode === 204 || statusCode === 304) return false;
  return headers['content-length'] === undefined && headers['transfer-encoding'] === undefined;
}
