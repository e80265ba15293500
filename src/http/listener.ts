import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Config, ListenAddress, ListenerConfig } from '../config/config.ts';
import { plainAddress } from '../core/address.ts';
import { GatewayError } from '../core/errors.ts';
import { KiB } from '../core/units.ts';
import { refuseRaw, tellRaw } from './answer.ts';
import type { Client, ClientOptions } from './client.ts';
import { Connection } from './connection.ts';
import type { ConnectionLimit } from './connection-limit.ts';
import { Entrance, type EntranceFailure, type EntranceOptions } from './entrance.ts';
import { Farewells } from './farewell.ts';
import { Networks } from './networks.ts';
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
  /** A connection ended before it could carry HTTP. */
  failed(failure: EntranceFailure): void;
}

/** Accepts connections of clients and turns their requests into `Client`s. */
export class Listener {
  readonly #server: Server;
  readonly #events: ListenerEvents;
  readonly #limit: ConnectionLimit;
  readonly #entrance: Entrance;
  /** As accepted: what TLS runs over, not TLS itself. */
  readonly #open = new Set<Socket>();
  readonly #connections = new Map<Duplex, Connection>();
  readonly #farewells = new Farewells();
  #speaksTls: boolean;
  #options: ClientOptions;
  #onUnixSocket = false;
  #closing = false;
  #onLastClosed = (): void => {};

  /**
   * @param limit shared by all listeners.
   * @param listens what is said of this listener.
   * @param takesUpgrades false ignores `Upgrade` as RFC 9110 §7.8 allows: the request is served as HTTP/1.1.
   * @throws Error of the library of TLS where it does not accept a certificate.
   */
  constructor(
    config: Config,
    listens: ListenerConfig,
    takesUpgrades: boolean,
    limit: ConnectionLimit,
    events: ListenerEvents,
  ) {
    this.#events = events;
    this.#limit = limit;
    this.#speaksTls = listens.tls !== null;
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
    // Node's own way from a connection to requests: it begins when what comes before HTTP is over
    const serve = this.#server.listeners('connection');
    this.#server.removeAllListeners('connection');
    this.#server.on('connection', (socket: Socket) => this.#onConnection(socket));
    this.#entrance = new Entrance(entranceOptions(config, listens), {
      arrived: (socket, wire, peerAddress) => {
        for (const each of serve) Reflect.apply(each, this.#server, [socket]);
        this.#onArrival(socket, wire, peerAddress);
      },
      plainHttp: (socket, peerAddress) => this.#refusePlainHttp(socket, peerAddress),
      failed: (failure) => this.#events.failed(failure),
    });
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
    return this.#open.size;
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

  /**
   * What is set here holds for requests that begin later, TLS and the PROXY protocol for connections that do.
   * @throws Error of the library of TLS where it does not accept a certificate; nothing has changed then.
   */
  reconfigure(config: Config, listens: ListenerConfig): void {
    this.#entrance.reconfigure(entranceOptions(config, listens));
    this.#speaksTls = listens.tls !== null;
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
    this.#entrance.close();
    for (const connection of this.#connections.values()) {
      connection.endAfterCurrent();
      if (connection.idle && connection.untouched) connection.socket.destroy();
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
    if (this.#open.size === 0) return;
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
    this.#entrance.close();
    for (const { socket } of this.#connections.values()) socket.destroy();
    for (const socket of this.#open) socket.destroy();
    this.#farewells.destroy();
  }

  #onConnection(socket: Socket): void {
    if (!this.#limit.beginConnection()) {
      // nobody reads an answer before the handshake
      return this.#speaksTls ? void socket.destroy() : this.#farewells.tell(socket);
    }
    this.#open.add(socket);
    socket.on('close', () => {
      this.#open.delete(socket);
      this.#limit.endConnection();
      if (this.#open.size === 0) this.#onLastClosed();
    });
    // asked now, of the listener: a connection that was reset has no address any more, which is not to be a unix socket
    this.#entrance.admit(
      socket,
      this.#onUnixSocket ? 'unix' : plainAddress(socket.remoteAddress ?? 'unknown'),
    );
  }

  #onArrival(socket: Socket, wire: Socket, peerAddress: string): void {
    const connection = new Connection(socket, wire, peerAddress, {
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
    socket.on('close', () => this.#connections.delete(socket));
  }

  /** As nginx does: whoever left out the s of https is told so. */
  #refusePlainHttp(socket: Socket, peerAddress: string): void {
    const error = new GatewayError('request-invalid', 'Plain HTTP was sent to a port that speaks HTTPS.');
    const requestId = newRequestId();
    const answeredBytes = refuseRaw(socket, error, requestId, this.#options.lingering);
    socket.resume();
    this.#events.refused({ error, requestId, peerAddress, method: '', answeredBytes });
  }

  #onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const { socket } = request;
    const connection = this.#connections.get(socket);
    if (connection === undefined) return void socket.destroy();
    const options =
      this.#closing || this.#limit.crowded ? { ...this.#options, httpKeepalive: false } : this.#options;
    if (!options.httpKeepalive) response.shouldKeepAlive = false;
    // an answer that breaks off is told by the connection's end; nobody else listens
    request.on('error', ignore);
    response.on('error', ignore);
    connection.take({
      request,
      response,
      socket,
      wire: connection.wire,
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

const ignore = (): void => {};

function entranceOptions(config: Config, { tls, proxyProtocol }: ListenerConfig): EntranceOptions {
  const trusted = new Networks(config.trustedProxies);
  const bounds = [config.clientHeaderTimeoutMs, config.clientSocketTimeoutMs].filter((ms) => ms > 0);
  return {
    tls,
    proxyProtocol,
    trustsProxy: (address) => trusted.has(address),
    timeMs: bounds.length > 0 ? Math.min(...bounds) : 0,
  };
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
