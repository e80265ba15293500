import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Config, ListenAddress } from '../config/config.ts';
import { type ErrorCode, GatewayError } from '../core/errors.ts';
import { KiB } from '../core/units.ts';
import { type Client, type ClientOptions, peerAddress } from './client.ts';
import { newRequestId, requestIdOf } from './request-id.ts';

/** The longest head, in bytes: as much as eventlet takes from Glance's clients in all. */
const mostHeadBytes = 64 * KiB;

/** How often Node looks for heads that take too long, at the least. */
const longestHeaderCheckMs = 1_000;

export interface ListenerEvents {
  request(client: Client): void;
  /** A request that asks for another protocol. The socket is the receiver's. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  dropped(): void;
}

/** Accepts connections of clients and turns their requests into `Client`s. */
export class Listener {
  readonly #server: Server;
  readonly #events: ListenerEvents;
  readonly #sockets = new Set<Socket>();
  /** The request whose answer each connection waits for. */
  readonly #current = new WeakMap<Duplex, Client>();
  #options: ClientOptions;
  #closing = false;

  /** @param takesUpgrades false ignores `Upgrade` as RFC 9110 §7.8 allows: the request is served as HTTP/1.1. */
  constructor(config: Config, takesUpgrades: boolean, events: ListenerEvents) {
    this.#events = events;
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
    });
    // Node 20 hides headers beyond this many, yet frames by them; all are shown, and counted by us (CVE-2026-58044)
    this.#server.maxHeadersCount = 0;
    this.#server.timeout = config.clientSocketTimeoutMs;
    if (config.maxConnections > 0) this.#server.maxConnections = config.maxConnections;
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('request', (request, response) => this.#onRequest(request, response, false));
    this.#server.on('checkContinue', (request, response) => this.#onRequest(request, response, true));
    this.#server.on('checkExpectation', (request, response) => {
      response.shouldKeepAlive = false;
      response.writeHead(417, {
        'Content-Type': 'application/problem+json',
        'X-Openstack-Request-Id': requestIdOf(request.rawHeaders),
      });
      response.end(problemText('expectation-unsupported', 'Expect names something else than 100-continue.'));
      request.resume();
    });
    this.#server.on('clientError', (error, socket) => this.#onClientError(error, socket));
    this.#server.on('timeout', (socket) => this.#onSilence(socket));
    this.#server.on('drop', () => events.dropped());
    this.takeUpgrades(takesUpgrades);
  }

  /** Holds for requests that begin later, as in the constructor. */
  takeUpgrades(takesUpgrades: boolean): void {
    this.#server.removeAllListeners('upgrade');
    if (takesUpgrades)
      this.#server.on('upgrade', (request, socket, head) => this.#events.upgrade(request, socket, head));
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** Rejects with the error of `listen(2)`. The result is where it listens, with the port it was given. */
  async listen(address: ListenAddress): Promise<ListenAddress> {
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
    if (config.maxConnections > 0) this.#server.maxConnections = config.maxConnections;
  }

  /** Takes no new connection, closes idle ones, and resolves when the last one is closed; answers now say `close`. */
  async close(): Promise<void> {
    this.#closing = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) {
      const client = this.#current.get(socket);
      if (client !== undefined) client.response.shouldKeepAlive = false;
    }
    this.#server.closeIdleConnections();
    await closed;
  }

  /** Ends every connection now. */
  destroy(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const { socket } = request;
    const options = this.#closing ? { ...this.#options, httpKeepalive: false } : this.#options;
    if (!options.httpKeepalive) response.shouldKeepAlive = false;
    const client: Client = {
      request,
      response,
      socket,
      headers: request.rawHeaders,
      peerAddress: peerAddress(socket),
      expectsContinue,
      options,
      answerFields: [],
      onBroken: null,
      broken: false,
    };
    this.#current.set(socket, client);
    // an answer that breaks off is told by the connection's end; nobody else listens
    request.on('error', () => {});
    response.on('error', () => {});
    response.once('close', () => {
      if (this.#current.get(socket) === client) this.#current.delete(socket);
    });
    this.#events.request(client);
  }

  /** Node cannot parse what the client sends, or its head took too long, or its connection broke. */
  #onClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
    const client = this.#current.get(socket);
    if (client !== undefined && !client.request.complete) {
      client.broken = true;
      // what is not the parser's complaint is the connection's: ECONNRESET, EPIPE
      const cut = error.code === 'HPE_INVALID_EOF_STATE' || !error.code?.startsWith('HPE_');
      const reason = cut
        ? new GatewayError('client-gone', 'The connection was closed in the middle of the body.', {
            ending: 'client-gone',
          })
        : new GatewayError('body-invalid', 'The body is not framed as HTTP/1.1 demands.', {
            ending: 'client-gone',
          });
      if (client.onBroken !== null) return client.onBroken(reason);
      if (client.response.headersSent) return void socket.destroy();
      return this.#answerRaw(socket, reason.code, reason.message);
    }
    // an earlier request of this connection is still being answered: what follows it cannot be read, but it stands
    if (client !== undefined) return;
    if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
    switch (error.code) {
      case 'ERR_HTTP_REQUEST_TIMEOUT':
        return this.#answerRaw(socket, 'header-timeout', 'The head was not complete in time.');
      case 'HPE_HEADER_OVERFLOW':
        return this.#answerRaw(
          socket,
          'headers-too-large',
          `The head is longer than ${mostHeadBytes} bytes.`,
        );
      default:
        return this.#answerRaw(socket, 'request-invalid', 'The request cannot be parsed as HTTP/1.1.');
    }
  }

  /** Nothing moved on the connection for `client_socket_timeout`. */
  #onSilence(socket: Socket): void {
    const client = this.#current.get(socket);
    // idle between requests, or not reading the answer it asked for
    if (client === undefined || socket.writableLength > 0) return void socket.destroy();
    // whoever carries the body knows better whose fault the silence is
    if (client.request.listenerCount('timeout') > 0) return;
    if (!client.request.complete && !client.request.isPaused()) return void socket.destroy();
    // we are the ones who owe something: Node's timer is spent, so wind it up again
    socket.setTimeout(this.#options.clientSocketTimeoutMs);
  }

  #answerRaw(socket: Duplex, code: ErrorCode, detail: string): void {
    const error = new GatewayError(code, detail);
    const body = problemText(code, detail);
    const head = `HTTP/1.1 ${error.status} ${code}\r\nContent-Type: application/problem+json\r\nX-Openstack-Request-Id: ${newRequestId()}\r\nConnection: close\r\n`;
    socket.end(`${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`, () => socket.destroy());
  }
}

function problemText(code: ErrorCode, detail: string): string {
  return `${JSON.stringify(new GatewayError(code, detail).problem())}\n`;
}
