import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { Closing } from './raw-client.ts';

/** What an upstream does with one connection, once the head of a request is there. */
export type Script = (connection: UpstreamConnection) => unknown;

/**
 * An upstream that does what it is told, for what well-behaved servers never do. It speaks literal bytes over TCP,
 * reads until told otherwise, and never closes by itself.
 */
export class ScriptedUpstream {
  /** Every connection that sent a whole head, oldest first. */
  readonly connections: UpstreamConnection[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #asked = new WeakSet<Socket>();
  readonly #ended = new WeakSet<Socket>();
  #script: Script;

  static async start(script: Script): Promise<ScriptedUpstream> {
    const upstream = new ScriptedUpstream(script);
    upstream.#server.listen(0, '127.0.0.1');
    await once(upstream.#server, 'listening');
    return upstream;
  }

  private constructor(script: Script) {
    this.#script = script;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the upstream does not listen');
    return address.port;
  }

  /**
   * Sockets with a request that the gateway did not end, by FIN or by RST. After a request that was given up undici
   * opens one more connection, on which it then has nothing to ask.
   */
  get openSockets(): number {
    return [...this.#sockets].filter((socket) => this.#asked.has(socket) && !this.#ended.has(socket)).length;
  }

  /** For connections to come. */
  set script(script: Script) {
    this.#script = script;
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('end', () => this.#ended.add(socket));
    socket.on('error', () => {});
    socket.once('data', () => this.#asked.add(socket));
    let received = Buffer.alloc(0);
    const onData = (bytes: Buffer): void => {
      received = Buffer.concat([received, bytes]);
      const end = received.indexOf('\r\n\r\n');
      if (end < 0) return;
      socket.off('data', onData);
      const connection = new UpstreamConnection(
        socket,
        received.subarray(0, end).toString('latin1'),
        received.subarray(end + 4),
      );
      this.connections.push(connection);
      this.#script(connection);
    };
    socket.on('data', onData);
  }
}

/** One request as it arrived. */
export class UpstreamConnection {
  /** The request line and the header fields, without the empty line. */
  readonly head: string;
  /** How the gateway ended the connection. Not known while nothing is read. */
  readonly closed: Promise<Closing>;
  readonly #socket: Socket;
  readonly #pieces: Buffer[] = [];
  #bytes = 0;
  #keeps = true;
  #tail = '';
  #wake: (() => void)[] = [];

  constructor(socket: Socket, head: string, first: Buffer) {
    this.#socket = socket;
    this.head = head;
    this.closed = new Promise((resolve) => {
      socket.on('end', () => resolve('fin'));
      socket.on('error', () => resolve('reset'));
      socket.on('close', () => resolve('local'));
    });
    socket.on('close', () => this.#woken());
    if (first.length > 0) this.#take(first);
    socket.on('data', (bytes: Buffer) => this.#take(bytes));
  }

  /** Raw bytes after the head, framing included. */
  get body(): Buffer {
    if (!this.#keeps) throw new Error('the body was not kept');
    return Buffer.concat(this.#pieces);
  }

  /** Counts the bytes and keeps none, however long the body is. */
  keepNothing(): void {
    this.#keeps = false;
    this.#pieces.length = 0;
  }

  get bodyBytes(): number {
    return this.#bytes;
  }

  /** Of what was written: what the kernel has taken. */
  get bytesTaken(): number {
    return this.#socket.bytesWritten - this.#socket.writableLength;
  }

  /** The value of a header field, or null. */
  header(name: string): string | null {
    const field = this.head.split('\r\n').find((line) => line.toLowerCase().startsWith(`${name}:`));
    return field === undefined ? null : field.slice(name.length + 1).trim();
  }

  /** Resolves once that many raw bytes of the body are here, or the socket is gone. */
  async received(bytes: number): Promise<void> {
    await this.#until(() => this.#bytes >= bytes);
  }

  /** Resolves once the body is whole by its framing, or the socket is gone. Bodies of tests hold no line ends. */
  async bodyComplete(): Promise<void> {
    const length = this.header('content-length');
    if (length !== null) await this.received(Number(length));
    else if (this.header('transfer-encoding') !== null) {
      await this.#until(() => this.#tail === '0\r\n\r\n' || this.#tail.endsWith('\r\n0\r\n\r\n'));
    }
  }

  stopReading(): void {
    this.#socket.pause();
  }

  resumeReading(): void {
    this.#socket.resume();
  }

  write(bytes: Uint8Array | string): void {
    this.#socket.write(bytes);
  }

  /** Writes an answer with an empty body, or the given one. */
  answer(statusLine: string, body = ''): void {
    this.write(`HTTP/1.1 ${statusLine}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  }

  /** Sends FIN and reads on. */
  end(): void {
    this.#socket.end();
  }

  /** Closes both sides, as a process that ends: with a reset if there is something unread. */
  destroy(): void {
    this.#socket.destroy();
  }

  /** Closes with RST. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  #take(bytes: Buffer): void {
    if (this.#keeps) this.#pieces.push(bytes);
    this.#bytes += bytes.length;
    this.#tail = (this.#tail + bytes.subarray(-7).toString('latin1')).slice(-7);
    this.#woken();
  }

  #woken(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition() && !this.#socket.destroyed) {
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }
}
