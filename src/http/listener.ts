import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Config, ListenAddress } from '../config/config.ts';
import { GatewayError } from '../core/errors.ts';
import { KiB } from '../core/units.ts';
import { tellRaw } from './answer.ts';
import type { Client, ClientOptions } from './client.ts';
import { Connection } from './connection.ts';
import type { ConnectionLimit } from './connection-limit.ts';
import { Farewells } from './farewell.ts';
import { newRequestId, requestIdOf } from './request-id.ts';
import type { UpgradeRequest } from './upgrade.ts';

/** The longest head, in bytes: as much as eventlet takes from Glance's clients in all. */
const mostHeadBytes = 64 * KiB;

/** How often Node looks for heads that take too long, at the least. */
const longestHeaderCheckMs = 1_000;

/** A request that was refused before anybody could look at it, or whose client left before its turn came. */
export interface Refusal {
  readonly error: GatewayError;
  /** As in `Client`, and on the answer. */
  readonly requestId: string;
  readonly peerAddress: string;
  /** Empty where not even that could be read. */
  readonly method: string;
  /** Of the body of the answer; null where nobody is there to be told. */
  readonly answeredBytes: number | null;
}

export interface ListenerEvents {
  request(client: Client): void;
  /** A request that asks for another protocol, or for a tunnel. The socket is the receiver's. */
  upgrade(asked: UpgradeRequest): void;
  refused(refusal: Refusal): void;
}

/** Accepts connections of clients and turns their requests into `Client`s. */
export class Listener {
  readonly #server: Server;
  readonly #events: ListenerEvents;
  readonly #limit: ConnectionLimit;
  readonly #connections = new Map<Duplex, Connection>();
  readonly #farewells = new Farewells();
  #options: ClientOptions;
  #onUnixSocket = false;
  #closing = false;
  #onLastClosed = (): void => {};

  /**
   * @param limit shared by all listeners.
   * @param takesUpgrades false ignores `Upgrade` as RFC 9110 §7.8 allows: the request is served as HTTP/1.1.
   */
  constructor(config: Config, takesUpgrades: boolean, limit: ConnectionLimit, events: ListenerEvents) {
    this.#events = events;
    this.#limit = limit;
    this.#options = config;
    this.#server = createServer({
      maxHeaderSize: mostHeadBytes,
      headersTimeout: config.clientHeaderTimeoutMs,
      // would cut an upload after five minutes; the deadlines that matter are per socket operation and per chunk
      requestTimeout: 0,
      keepAliveTimeout: 0,
      connectionsCheckingInterval: Math.max(
        20,
        Math.min(longestHeaderCheckMs, Math.floor(config.clientHeaderTimeoutMs / 4) || longestHeaderCheckMs),
      ),
      highWaterMark: 64 * KiB,
      noDelay: true,
      keepAlive: true,
      // a missing Host is refused by us, with a reason and a line in the log
      requireHostHeader: false,
    });
    // Node 20 hides headers beyond this many, yet frames by them; all are shown, and counted by us (CVE-2026-58044)
    this.#server.maxHeadersCount = 0;
    this.#server.timeout = config.clientSocketTimeoutMs;
    // who has said all may still want to hear: what is whole is answered, then the connection closes
    Object.assign(this.#server, { httpAllowHalfOpen: true });
    this.#server.on('connection', (socket: Socket) => this.#onConnection(socket));
    this.#server.on('request', (request, response) => this.#onRequest(request, response, false));
    this.#server.on('checkContinue', (request, response) => this.#onRequest(request, response, true));
    this.#server.on('checkExpectation', (request, response) => this.#onRequest(request, response, false));
    this.#server.on('clientError', (error, socket) => this.#onClientError(error, socket));
    this.#server.on('timeout', (socket) => this.#onSilence(socket));
    // without a listener Node closes the connection without a word
    this.#server.on('connect', (request, _socket, head) => this.#onUpgrade(request, head));
    this.takeUpgrades(takesUpgrades);
  }

  /** Holds for requests that begin later, as in the constructor. */
  takeUpgrades(takesUpgrades: boolean): void {
    this.#server.removeAllListeners('upgrade');
    if (takesUpgrades) this.#server.on('upgrade', (request, _socket, head) => this.#onUpgrade(request, head));
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Rejects with the error of `listen(2)`. The result is where it listens, with the port it was given. */
  async listen(address: ListenAddress): Promise<ListenAddress> {
    this.#onUnixSocket = 'path' in address;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(address, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    const bound = this.#server.address();
    return typeof bound === 'object' && bound !== null ? { host: bound.address, port: bound.port } : address;
  }

  /** What is set here holds for requests that begin later. */
  reconfigure(config: Config): void {
    this.#options = config;
    this.#server.timeout = config.clientSocketTimeoutMs;
    this.#server.headersTimeout = config.clientHeaderTimeoutMs;
  }

  /**
   * Takes no new connection, closes those without a request, and resolves when the last one is closed; answers now say
   * `close`. Half a head may still become a request, for `client_header_timeout`.
   */
  async close(): Promise<void> {
    this.#closing = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const connection of this.#connections.values()) {
      connection.endAfterCurrent();
      if (connection.idle && connection.socket.bytesRead === 0) connection.socket.destroy();
    }
    this.#server.closeIdleConnections();
    // a server that is closed looks for late heads no more
    const late =
      this.#server.headersTimeout > 0
        ? setTimeout(() => this.#refuseLateHeads(), this.#server.headersTimeout)
        : undefined;
    await closed;
    clearTimeout(late);
  }

  /** Resolves when the last connection is closed, so every answer under way has arrived, or after `mostMs`. */
  async settled(mostMs: number): Promise<void> {
    if (this.#connections.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, mostMs);
      this.#onLastClosed = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#onLastClosed = () => {};
  }

  /** Ends every connection now. */
  destroy(): void {
    for (const { socket } of this.#connections.values()) socket.destroy();
  }

  #onConnection(socket: Socket): void {
    if (!this.#limit.beginConnection()) return this.#farewells.tell(socket);
    // asked now, of the listener: a connection that was reset has no address any more, which is not to be a unix socket
    const peerAddress = this.#onUnixSocket ? 'unix' : (plainAddress(socket) ?? 'unknown');
    const connection = new Connection(socket, peerAddress, {
      begin: (client) => this.#events.request(client),
      unreadable: (error, cut) => this.#refuse(connection, error, cut),
      dropped: ({ request, requestId }) => {
        const error = new GatewayError(
          'client-gone',
          'The connection closed before the turn of the request.',
        );
        const method = request.method ?? '';
        this.#events.refused({ error, requestId, peerAddress, method, answeredBytes: null });
      },
    });
    this.#connections.set(socket, connection);
    socket.once('close', () => {
      this.#connections.delete(socket);
      this.#limit.endConnection();
      if (this.#connections.size === 0) this.#onLastClosed();
    });
  }

  #onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const { socket } = request;
    const connection = this.#connections.get(socket);
    if (connection === undefined)
      return void (this.#farewells.has(socket) ? request.resume() : socket.destroy());
    const options =
      this.#closing || this.#limit.crowded ? { ...this.#options, httpKeepalive: false } : this.#options;
    if (!options.httpKeepalive) response.shouldKeepAlive = false;
    // an answer that breaks off is told by the connection's end; nobody else listens
    request.on('error', () => {});
    response.on('error', () => {});
    connection.take({
      request,
      response,
      socket,
      headers: request.rawHeaders,
      requestId: requestIdOf(request.rawHeaders),
      peerAddress: connection.peerAddress,
      expectsContinue,
      options,
      answerFields: [],
      onBroken: null,
      broken: false,
    });
  }

  #onUpgrade(request: IncomingMessage, head: Buffer): void {
    const { socket } = request;
    // Node has taken its own listeners off: a reset without any would end the process
    socket.on('error', () => {});
    const connection = this.#connections.get(socket);
    if (connection === undefined) return void socket.destroy();
    const { peerAddress, current } = connection;
    const requestId = requestIdOf(request.rawHeaders);
    if (current !== null) {
      // Node lets go of the connection at once, in the middle of the answer before
      const detail = 'Another protocol is asked for before the request in front is answered.';
      const error = new GatewayError('upgrade-refused', detail);
      const method = request.method ?? '';
      this.#events.refused({ error, requestId, peerAddress, method, answeredBytes: null });
      return void socket.destroy();
    }
    connection.upgraded = true;
    this.#events.upgrade({
      request,
      socket,
      head,
      peerAddress,
      requestId,
      lingering: this.#options.lingering,
    });
  }

  #refuseLateHeads(): void {
    for (const connection of this.#connections.values()) {
      if (connection.idle && connection.socket.writable) connection.breakOff(() => lateHead());
    }
  }

  /** Node cannot parse what the client sends, or its head took too long, or its connection broke. */
  #onClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
    const connection = this.#connections.get(socket);
    if (connection === undefined) return void socket.destroy();
    const { current } = connection;
    if (current !== null && !current.request.complete) {
      current.broken = true;
      const reason = brokenBody(error);
      if (current.onBroken !== null) return current.onBroken(reason);
      if (current.response.headersSent) return void socket.destroy();
      tellRaw(connection.socket, reason, current.requestId);
      return;
    }
    if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
    // an earlier request of this connection may still be answered: what follows it cannot be read, but it stands
    connection.breakOff((cut) => (cut === null ? brokenHead(error) : brokenBody(error)));
  }

  /** Nothing moved on the connection for `client_socket_timeout`. */
  #onSilence(socket: Socket): void {
    const client = this.#connections.get(socket)?.current ?? null;
    // idle between requests, or not reading the answer it asked for
    if (client === null || socket.writableLength > 0) return void socket.destroy();
    // whoever carries the body knows better whose fault the silence is
    if (client.request.listenerCount('timeout') > 0) return;
    // read on only to be thrown away
    if (!client.request.complete && client.request.readableFlowing) return void socket.destroy();
    // we are the ones who owe something: Node's timer is spent, so wind it up again
    socket.setTimeout(this.#options.clientSocketTimeoutMs);
  }

  /**
   * Answers in the place of a request that never became one, and closes.
   * @param cut the request that could not be read to its end; null where not even a head could be.
   */
  #refuse({ socket, peerAddress }: Connection, error: GatewayError, cut: Client | null): void {
    const requestId = cut?.requestId ?? newRequestId();
    const method = cut?.request.method ?? '';
    const answeredBytes = tellRaw(socket, error, requestId);
    this.#events.refused({ error, requestId, peerAddress, method, answeredBytes });
  }
}

/** IPv4 in dotted form, also for a client of a listener on `::`. */
function plainAddress({ remoteAddress }: Socket): string | undefined {
  return remoteAddress?.replace(/^::ffff:(?=\d+\.)/, '');
}

function brokenBody({ code }: NodeJS.ErrnoException): GatewayError {
  // what is not the parser's complaint is the connection's: ECONNRESET, EPIPE
  const cut = code === 'HPE_INVALID_EOF_STATE' || !code?.startsWith('HPE_');
  const ending = 'client-gone';
  return cut
    ? new GatewayError('client-gone', 'The connection was closed in the middle of the body.', { ending })
    : new GatewayError('body-invalid', 'The body is not framed as HTTP/1.1 demands.', { ending });
}

const lateHead = (): GatewayError => new GatewayError('header-timeout', 'The head was not complete in time.');

function brokenHead({ code }: NodeJS.ErrnoException): GatewayError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return lateHead();
    case 'HPE_HEADER_OVERFLOW':
      return new GatewayError('headers-too-large', `The head is longer than ${mostHeadBytes} bytes.`);
    default:
      return new GatewayError('request-invalid', 'The request cannot be parsed as HTTP/1.1.');
  }
}
