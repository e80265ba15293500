import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, TLSSocket } from 'node:tls';
import { caOfTests } from './certificates.ts';

export interface RawResponse {
  readonly status: number;
  readonly reason: string;
  /** By lower-case name, every value in the order of the wire. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
  readonly body: Buffer;
  /** The 1xx statuses that came before, e.g. `[100]`. */
  readonly informational: readonly number[];
}

/** How the connection ended as seen from here: the server's FIN, the server's RST (or a broken pipe), or we destroyed it. */
export type Closing = 'fin' | 'reset' | 'local';

/**
 * An HTTP/1.1 client that writes literal bytes, for what well-behaved clients never do. It has no opinion on what
 * is sent, is half-open (after the server's FIN it can still write) and never closes by itself.
 */
export class RawClient {
  /** Settles once the server has closed its side, or the socket is gone. Not while reading is paused. */
  readonly closed: Promise<Closing>;
  readonly #socket: Socket;
  /** What TLS runs over; the same where there is none. */
  readonly #under: Socket;
  /** Joined only when looked at: joining with every piece would make a large body quadratic. */
  #pieces: Buffer[] = [];
  #piecesBytes = 0;
  #closing: Closing | null = null;
  #wake: () => void = () => {};

  static async connect(port: number, host = '127.0.0.1'): Promise<RawClient> {
    const socket = connect({ port, host, allowHalfOpen: true, noDelay: true });
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  /**
   * The same over TLS, as the host `localhost` unless `servername` says otherwise. Rejects when the handshake fails on our
   * side.
   * @param first literal bytes before the handshake.
   */
  static async secure(port: number, options: ConnectionOptions = {}, first = ''): Promise<RawClient> {
    const under = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    await once(under, 'connect');
    under.write(first);
    const socket = connectTls({ ca: caOfTests, servername: 'localhost', ...options, socket: under });
    await once(socket, 'secureConnect');
    return new RawClient(socket, under);
  }

  private constructor(socket: Socket, under = socket) {
    this.#socket = socket;
    this.#under = under;
    this.closed = new Promise((resolve) => {
      const settle = (closing: Closing) => {
        this.#closing ??= closing;
        this.#wake();
        resolve(this.#closing);
      };
      socket.on('end', () => settle('fin'));
      socket.on('error', () => settle('reset'));
      socket.on('close', () => settle('local'));
    });
    socket.on('data', (bytes: Buffer) => {
      this.#pieces.push(bytes);
      this.#piecesBytes += bytes.length;
      this.#wake();
    });
  }

  /** What TLS says of the connection; null where there is none. */
  get tls(): TLSSocket | null {
    return this.#socket instanceof TLSSocket ? this.#socket : null;
  }

  /** Bytes that the kernel has taken. */
  get bytesWritten(): number {
    return this.#socket.bytesWritten - this.#socket.writableLength;
  }

  /** What has arrived and was not yet taken by `response`. */
  get unread(): Buffer {
    const joined = this.#pieces.length === 1 ? this.#pieces[0] : undefined;
    const received = joined ?? Buffer.concat(this.#pieces);
    this.#pieces = [received];
    return received;
  }

  /** Resolves when the kernel has taken the bytes, or when the socket is gone. Never rejects. */
  async write(bytes: Uint8Array | string): Promise<void> {
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    await new Promise<void>((resolve) => this.#socket.write(bytes, () => resolve()));
  }

  /** Writes the lines of a head and the empty line after it: `request('GET / HTTP/1.1', 'Host: x')`. */
  async request(...lines: readonly string[]): Promise<void> {
    await this.write([...lines, '', ''].join('\r\n'));
  }

  /** Writes one HTTP chunk; an empty one is the last. */
  async chunk(bytes: Uint8Array | string): Promise<void> {
    const data = Buffer.from(bytes);
    await this.write(
      Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')]),
    );
  }

  /**
   * Reads the next response. Rejects when the connection ends before the response does.
   * @param options bodyless: this answers a HEAD request, whatever its Content-Length.
   */
  async response(options: { readonly bodyless?: boolean } = {}): Promise<RawResponse> {
    const informational: number[] = [];
    for (;;) {
      const head = await this.#head();
      if (head.status >= 200) {
        const bodyless = options.bodyless === true || head.status === 204 || head.status === 304;
        const body = bodyless ? Buffer.alloc(0) : await this.#body(head.headers);
        return { ...head, body, informational };
      }
      informational.push(head.status);
    }
  }

  /** Resolves once `count` bytes that no `response` took are here. */
  async receive(count: number): Promise<void> {
    while (this.#piecesBytes < count) await this.#more();
  }

  pauseReading(): void {
    this.#socket.pause();
  }

  resumeReading(): void {
    this.#socket.resume();
  }

  /** Closes with RST. */
  reset(): void {
    this.#under.resetAndDestroy();
  }

  /** Sends FIN, after what was written. */
  end(): void {
    this.#socket.end();
  }

  /** Lets go of the socket, for the end of a test. */
  destroy(): void {
    this.#socket.destroy();
  }

  async #head(): Promise<Pick<RawResponse, 'status' | 'reason' | 'headers'>> {
    const [statusLine = '', ...fields] = (await this.#until('\r\n\r\n')).split('\r\n');
    const match = /^HTTP\/1\.[01] (\d{3}) ?(.*)$/.exec(statusLine);
    if (match === null) throw new Error(`not a status line: ${JSON.stringify(statusLine)}`);
    const headers = new Map<string, string[]>();
    for (const field of fields) {
      const colon = field.indexOf(':');
      if (colon < 1) throw new Error(`not a header field: ${JSON.stringify(field)}`);
      const name = field.slice(0, colon).toLowerCase();
      headers.set(name, [...(headers.get(name) ?? []), field.slice(colon + 1).trim()]);
    }
    return { status: Number(match[1]), reason: match[2] ?? '', headers };
  }

  async #body(headers: RawResponse['headers']): Promise<Buffer> {
    if (headers.get('transfer-encoding')?.join().toLowerCase() === 'chunked') return this.#chunkedBody();
    const [length] = headers.get('content-length') ?? [];
    if (length !== undefined) return this.#take(Number(length));
    while (this.#closing === null) await this.#more();
    if (this.#closing !== 'fin') throw new Error(`the connection was ${this.#closing} inside a body`);
    return this.#take(this.#piecesBytes);
  }

  async #chunkedBody(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for (;;) {
      const sizeLine = await this.#until('\r\n');
      if (!/^[0-9a-fA-F]+/.test(sizeLine)) throw new Error(`not a chunk size: ${JSON.stringify(sizeLine)}`);
      const size = Number.parseInt(sizeLine, 16);
      if (size === 0) break;
      chunks.push(await this.#take(size));
      await this.#until('\r\n');
    }
    while ((await this.#until('\r\n')) !== '');
    return Buffer.concat(chunks);
  }

  async #until(mark: string): Promise<string> {
    for (;;) {
      const at = this.unread.indexOf(mark);
      if (at >= 0) return (await this.#take(at + mark.length)).subarray(0, at).toString('latin1');
      await this.#more();
    }
  }

  async #take(count: number): Promise<Buffer> {
    await this.receive(count);
    const received = this.unread;
    this.#pieces = [received.subarray(count)];
    this.#piecesBytes -= count;
    return received.subarray(0, count);
  }

  async #more(): Promise<void> {
    if (this.#closing !== null) {
      const rest = this.unread.toString('latin1').slice(0, 200);
      throw new Error(
        `the connection ended (${this.#closing}) before the response did, after ${JSON.stringify(rest)}`,
      );
    }
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }
}
