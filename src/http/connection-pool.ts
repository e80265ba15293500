import { Client, type Dispatcher } from 'undici';
import type { ErrorCode, GatewayError } from '../core/errors.ts';
import type { RawHeaders } from '../core/headers.ts';
import { KiB } from '../core/units.ts';
import { AnswerBody } from './answer-body.ts';
import { rawList } from './ask.ts';
import type { ClientBody } from './client-body.ts';
import type { GiveUp } from './give-up.ts';
import { PlainExchange } from './plain-exchange.ts';
import { openSocket, type PooledSocket } from './pooled-socket.ts';
import { checkCoding, checkStatus, upstreamError } from './upstream-error.ts';

export interface ConnectionPoolOptions {
  readonly origin: URL;
  /** Milliseconds; 0 = as long as the kernel tries. */
  readonly connectTimeoutMs: number;
  /** From the last byte of the request to the head of the answer, and between two bytes of the answer; 0 = for ever. */
  readonly responseTimeoutMs: number;
  /** How long an unused connection is kept. */
  readonly idleTimeoutMs: number;
}

export interface PassedRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: RawHeaders;
  /** Held whole, on its way, or none. */
  readonly body: Buffer | ClientBody | null;
}

/** The head of an answer, and its body on its way. */
export interface PassedAnswer {
  readonly status: number;
  readonly headers: RawHeaders;
  /** To be read to its end, discarded or destroyed: only then is its connection free. */
  readonly body: AnswerBody;
  /** False where whoever brings the body has to see all of it, so that nobody else may move it. */
  readonly movable: boolean;
  /** What it comes from. */
  readonly socket: PooledSocket;
}

/** What came of sending a request to one server. */
export type Attempt = { readonly answer: PassedAnswer } | FailedAttempt;

export interface FailedAttempt {
  readonly error: GatewayError;
  /**
   * `nowhere`: there was no connection, and nothing of the request was touched. `unanswered`: the server may have
   * all of it, and ended the connection without a byte of an answer. `further`: anything else.
   */
  readonly reached: 'nowhere' | 'unanswered' | 'further';
}

/**
 * Connections to one server of the API, which outlive a request.
 *
 * A server may close a connection that waits for use at the very moment when the next request is written. Only a request
 * that may be sent twice goes out on one that was used before, and is sent once more on a new one if that breaks without an
 * answer. Any other has a new connection to itself (docs/decisions/0012).
 */
export class ConnectionPool {
  readonly #options: ConnectionPoolOptions;
  readonly #onStale: () => void;
  readonly #open = new Set<Connection>();
  /** The one that was used last is the last. */
  readonly #idle: Connection[] = [];
  #closed = false;

  /** @param onStale told when a request was sent again because a connection that had waited broke. */
  constructor(options: ConnectionPoolOptions, onStale: () => void) {
    this.#options = options;
    this.#onStale = onStale;
  }

  /** Never throws. */
  async send(request: PassedRequest, signal: GiveUp | undefined): Promise<Attempt> {
    const idle = mayRepeat(request) ? await this.#silentIdle() : undefined;
    if (idle !== undefined) {
      const attempt = await this.#sendOn(idle, request, signal);
      if (!('error' in attempt) || attempt.reached !== 'unanswered') return attempt;
      this.#onStale();
    }
    const { origin, connectTimeoutMs } = this.#options;
    let socket: PooledSocket;
    try {
      socket = await openSocket(origin, connectTimeoutMs, signal);
    } catch (thrown) {
      const error = upstreamError(thrown);
      return { error, reached: neverArrived.has(error.code) ? 'nowhere' : 'further' };
    }
    return await this.#sendOn(this.#newConnection(socket), request, signal);
  }

  /** Ends idle connections at once and the others with their requests. */
  close(): void {
    this.#closed = true;
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  destroy(): void {
    this.close();
    for (const connection of this.#open) connection.destroy();
  }

  /**
   * What has come in on a connection since its last answer is of nobody, and once a request is written it would be the answer
   * to that. So what the kernel told of together with the request is read first.
   */
  async #silentIdle(): Promise<Connection | undefined> {
    for (;;) {
      const connection = this.#idle.pop();
      if (connection === undefined) return undefined;
      await new Promise((resolve) => setImmediate(resolve));
      if (connection.free) return connection;
    }
  }

  #newConnection(socket: PooledSocket): Connection {
    const connection = new Connection(socket, this.#options);
    this.#open.add(connection);
    socket.once('close', () => {
      this.#open.delete(connection);
      const index = this.#idle.indexOf(connection);
      if (index >= 0) this.#idle.splice(index, 1);
      connection.destroy();
    });
    return connection;
  }

  #sendOn(connection: Connection, request: PassedRequest, signal: GiveUp | undefined): Promise<Attempt> {
    return connection.send(request, signal, () => this.#takeBack(connection, request));
  }

  #takeBack(connection: Connection, request: PassedRequest): void {
    // a POST brings a connection and takes none: if each were kept, there would be more and more of them
    const wanted = mayRepeat(request) || this.#idle.length === 0;
    if (wanted && connection.free && !this.#closed) this.#idle.push(connection);
    else connection.destroy();
  }
}

/** Codes of errors that say: the server has not heard of the request. */
export const neverArrived: ReadonlySet<ErrorCode> = new Set([
  'upstream-unreachable',
  'upstream-connect-timeout',
]);

/** RFC 9110 §9.2.1: nothing is changed by asking once more; and what has a body has given it away. */
export const mayRepeat = ({ method, body }: Pick<PassedRequest, 'method' | 'body'>): boolean =>
  body === null && (method === 'GET' || method === 'HEAD' || method === 'OPTIONS');

/**
 * One connection, for one request at a time: by `PlainExchange` as long as all requests and answers are plain, and by undici
 * from the first one on that is not.
 */
class Connection {
  readonly #socket: PooledSocket;
  readonly #options: ConnectionPoolOptions;
  #client: Client | null = null;
  #plain: PlainExchange | null = null;
  /** Of plain exchanges. Wound up again, not made anew, for each of them. */
  #responseTimer: NodeJS.Timeout | undefined;
  #idleTimer: NodeJS.Timeout | undefined;

  constructor(socket: PooledSocket, options: ConnectionPoolOptions) {
    this.#socket = socket;
    this.#options = options;
    // what fails is told by the exchange under way; a socket without any listener would end the process
    socket.on('error', () => {});
    socket.once('close', () => {
      clearTimeout(this.#responseTimer);
      clearTimeout(this.#idleTimer);
      this.#plain?.lost(socket.errored);
    });
  }

  #parser(): Client {
    if (this.#client !== null) return this.#client;
    const { origin, responseTimeoutMs, idleTimeoutMs } = this.#options;
    const socket = this.#socket;
    let given = false;
    const client = new Client(origin.origin, {
      pipelining: 1,
      // it connects anew by itself: here each connection has its own
      connect: (_, callback) => {
        if (given) {
          queueMicrotask(() => callback(new Error('the API closed the connection'), null));
          return;
        }
        given = true;
        // undici goes on only from an answer that is not there at once
        queueMicrotask(() => callback(null, socket));
      },
      headersTimeout: responseTimeoutMs,
      bodyTimeout: responseTimeoutMs,
      keepAliveTimeout: idleTimeoutMs,
      keepAliveMaxTimeout: idleTimeoutMs,
      maxHeaderSize: 64 * KiB,
    });
    clearTimeout(this.#responseTimer);
    clearTimeout(this.#idleTimer);
    socket.parsed();
    this.#client = client;
    return client;
  }

  /** True if the next request may be sent on it. */
  get free(): boolean {
    if (this.#socket.destroyed || this.#plain !== null) return false;
    if (this.#client === null) return true;
    const { connected, size } = this.#client.stats;
    return connected && size === 0;
  }

  /** By an orderly close where nothing is under way, else by a reset. */
  destroy(): void {
    if (this.free) this.#socket.destroy();
    if (this.#client !== null) void this.#client.destroy();
    // also what undici was to have and never took
    if (!this.#socket.destroyed) this.#socket.destroy(new Error('the connection is given up'));
  }

  /** @param over told when nothing more of the request and its answer is to come: the connection may be free then. */
  send(request: PassedRequest, signal: GiveUp | undefined, over: () => void): Promise<Attempt> {
    const { body } = request;
    const readBytes = this.#socket.bytesRead;
    return new Promise((resolve) => {
      const events: AnswerEvents = {
        answered: (answer) => resolve({ answer: { ...answer, socket: this.#socket } }),
        failed: (thrown) => {
          const error = upstreamError(thrown);
          const silent = error.code === 'upstream-lost' && this.#socket.bytesRead === readBytes;
          resolve({ error, reached: silent ? 'unanswered' : 'further' });
        },
        over: (thrown) => {
          // what it has not read is of no use to anybody
          if (thrown !== null && body !== null && !Buffer.isBuffer(body)) body.destroy();
          // only after this turn undici knows that the connection is free
          queueMicrotask(over);
        },
      };
      if (this.#client === null && mayBePlain(request)) this.#exchange(request, signal, events);
      else this.#dispatch(request, signal, events);
    });
  }

  #dispatch(
    { method, target, headers, body }: PassedRequest,
    signal: GiveUp | undefined,
    events: AnswerEvents,
  ): void {
    const sent = [...headers];
    const lengthBytes = Buffer.isBuffer(body) ? body.length : (body?.lengthBytes ?? null);
    if (lengthBytes !== null) sent.push('Content-Length', String(lengthBytes));
    this.#parser().dispatch({ method, path: target, headers: sent, body }, new AnswerHandler(signal, events));
  }

  #exchange(request: PassedRequest, signal: GiveUp | undefined, events: AnswerEvents): void {
    const exchange = new PlainExchange(this.#socket, signal, {
      answered: events.answered,
      failed: events.failed,
      moved: () => this.#waitForAnswer(),
      over: (error) => {
        this.#plain = null;
        this.#waitForUse();
        events.over(error);
      },
      notPlain: (begun) => {
        this.#plain = null;
        this.#socket.handOver(begun);
        this.#dispatch(request, signal, events);
      },
    });
    this.#plain = exchange;
    this.#waitForAnswer();
    exchange.begin(request);
  }

  #waitForAnswer(): void {
    const { responseTimeoutMs } = this.#options;
    if (this.#responseTimer !== undefined) this.#responseTimer.refresh();
    else if (responseTimeoutMs > 0)
      this.#responseTimer = setTimeout(() => this.#plain?.late(), responseTimeoutMs);
  }

  #waitForUse(): void {
    if (this.#socket.destroyed) return;
    if (this.#idleTimer !== undefined) this.#idleTimer.refresh();
    else
      this.#idleTimer = setTimeout(() => {
        if (this.free) this.destroy();
      }, this.#options.idleTimeoutMs);
  }
}

/** Undici closes the connection after a HEAD, since some servers send a body all the same. */
const mayBePlain = (request: PassedRequest): boolean => mayRepeat(request) && request.method !== 'HEAD';

/** What is told of the answer to one request, by whoever reads it. */
export interface AnswerEvents {
  answered(answer: Omit<PassedAnswer, 'socket'>): void;
  /** There will be no answer. */
  failed(error: unknown): void;
  /** The answer has come to its end, or broke (then there is an error). */
  over(error: unknown): void;
}

/** What undici's parser tells of the answer to one request. */
class AnswerHandler implements Dispatcher.DispatchHandler {
  readonly #signal: GiveUp | undefined;
  readonly #events: AnswerEvents;
  #controller: Dispatcher.DispatchController | null = null;
  #body: AnswerBody | null = null;

  constructor(signal: GiveUp | undefined, events: AnswerEvents) {
    this.#signal = signal;
    this.#events = events;
    signal?.addEventListener('abort', this.#onAbort);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#signal?.aborted) this.#onAbort();
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    checkStatus(status);
    // to undici whatever is below 200 is no answer yet
    if (status < 200) return;
    const headers = rawList(controller.rawHeaders);
    checkCoding(headers);
    this.#body = new AnswerBody(controller);
    this.#events.answered({ status, headers, body: this.#body, movable: true });
  }

  onResponseData(_: unknown, piece: Buffer): void {
    this.#body?.push(piece);
  }

  onResponseEnd(): void {
    this.#over(null);
    this.#body?.end();
  }

  onResponseError(_: unknown, error: unknown): void {
    this.#over(error);
    if (this.#body === null) this.#events.failed(error);
    else this.#body.fail(error);
  }

  #over(error: unknown): void {
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#events.over(error);
  }

  readonly #onAbort = (): void => {
    const reason = this.#signal?.reason;
    this.#controller?.abort(reason instanceof Error ? reason : new Error(String(reason)));
  };
}
