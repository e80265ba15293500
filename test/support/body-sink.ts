import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { Closing } from './raw-client.ts';

/**
 * A server on loopback that takes one request and reads its body as HTTP/1.1 frames it, keeping no byte of it: however long
 * the body is. It stops reading, answers, ends and resets when it is told to, and never by itself.
 */
export class BodySink {
  /** Of data, without framing. */
  bodyBytes = 0;
  /** Sizes of the frames that were whole, oldest first; empty for a body of known length. */
  readonly frames: number[] = [];
  /** The body came to its end by its own framing. */
  ended = false;
  /** What is wrong with its framing. */
  broken: string | null = null;
  /** How the other side went away; null while it is here, and while nobody reads. */
  closing: Closing | null = null;
  #socket: Socket | null = null;
  readonly #server: Server;
  readonly #hash = createHash('sha256');
  readonly #hashes: boolean;
  readonly #repeats: Buffer | null;
  #readsFromStart: boolean;
  #head: string | null = null;
  #line = '';
  #leftBytes = 0;
  #frameBytes = 0;
  #phase: 'length' | 'size' | 'data' | 'data-end' | 'last' = 'length';

  /**
   * @param options hashes: false where nobody asks for the digest. repeats: the body has to be this over and over, which costs
   *   less to see than a digest; what differs is `broken`.
   */
  static async start(
    options: { hashes?: boolean; reads?: boolean; repeats?: Buffer } = {},
  ): Promise<BodySink> {
    const sink = new BodySink(options.hashes ?? true, options.reads ?? true, options.repeats ?? null);
    sink.#server.listen(0, '127.0.0.1');
    await once(sink.#server, 'listening');
    return sink;
  }

  private constructor(hashes: boolean, reads: boolean, repeats: Buffer | null) {
    this.#hashes = hashes;
    this.#repeats = repeats;
    this.#readsFromStart = reads;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true });
    this.#server.once('connection', (socket) => this.#accept(socket));
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the sink does not listen');
    return address.port;
  }

  /** Of the data so far; asked once. */
  digest(): string {
    return this.#hash.digest('hex');
  }

  /** Reads no more: what comes fills the buffers of the kernel. */
  stopReading(): void {
    this.#readsFromStart = false;
    this.#socket?.pause();
  }

  read(): void {
    this.#readsFromStart = true;
    this.#socket?.resume();
  }

  /** Writes a whole answer. */
  answer(statusLine: string): void {
    this.#socket?.write(`HTTP/1.1 ${statusLine}\r\nContent-Length: 0\r\n\r\n`);
  }

  /** Sends FIN. */
  end(): void {
    this.#socket?.end();
  }

  reset(): void {
    this.#socket?.resetAndDestroy();
  }

  stop(): void {
    this.#socket?.destroy();
    this.#server.close();
  }

  #accept(socket: Socket): void {
    this.#socket = socket;
    socket.on('end', () => {
      this.closing ??= 'fin';
    });
    socket.on('error', () => {
      this.closing ??= 'reset';
    });
    socket.on('close', () => {
      this.closing ??= 'local';
    });
    socket.on('data', (bytes: Buffer) => this.#take(bytes));
    if (this.#readsFromStart) socket.resume();
    else socket.pause();
  }

  #take(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length && this.broken === null) at = this.#step(bytes, at);
  }

  /** Returns where the next step begins. */
  #step(bytes: Buffer, at: number): number {
    if (this.#head === null) return this.#readLine(bytes, at, '\r\n\r\n', (head) => this.#takeHead(head));
    if (this.ended) {
      this.broken = 'bytes came after the end';
      return bytes.length;
    }
    switch (this.#phase) {
      case 'length':
      case 'data': {
        const data = bytes.subarray(at, at + this.#leftBytes);
        this.#leftBytes -= data.length;
        if (this.#repeats !== null) this.#compare(data, this.#repeats);
        this.bodyBytes += data.length;
        if (this.#hashes) this.#hash.update(data);
        if (this.#leftBytes === 0) {
          if (this.#phase === 'data') this.#phase = 'data-end';
          else this.ended = true;
        }
        return at + data.length;
      }
      case 'size':
        return this.#readLine(bytes, at, '\r\n', (size) => {
          if (!/^(0|[1-9a-f][0-9a-f]*)$/.test(size)) this.broken = `a size of ${JSON.stringify(size)}`;
          this.#leftBytes = Number.parseInt(size, 16);
          this.#frameBytes = this.#leftBytes;
          this.#phase = this.#leftBytes === 0 ? 'last' : 'data';
        });
      case 'data-end':
        return this.#readLine(bytes, at, '\r\n', (rest) => {
          if (rest !== '') this.broken = 'a frame is longer than its size';
          this.frames.push(this.#frameBytes);
          this.#phase = 'size';
        });
      case 'last':
        return this.#readLine(bytes, at, '\r\n', (rest) => {
          if (rest !== '') this.broken = 'there are trailers';
          this.ended = true;
        });
    }
  }

  #compare(data: Buffer, repeats: Buffer): void {
    for (let at = 0; at < data.length; ) {
      const from = (this.bodyBytes + at) % repeats.length;
      const part = data.subarray(at, at + repeats.length - from);
      if (!part.equals(repeats.subarray(from, from + part.length)))
        this.broken ??= `other bytes from byte ${this.bodyBytes + at} on`;
      at += part.length;
    }
  }

  #readLine(bytes: Buffer, at: number, mark: string, take: (line: string) => void): number {
    const before = this.#line;
    this.#line += bytes.toString('latin1', at);
    const end = this.#line.indexOf(mark);
    if (end < 0) return bytes.length;
    const line = this.#line.slice(0, end);
    this.#line = '';
    take(line);
    return at + end + mark.length - before.length;
  }

  #takeHead(head: string): void {
    this.#head = head;
    const length = /^content-length: (\d+)$/im.exec(head.replaceAll('\r', ''))?.[1];
    this.#phase = length === undefined ? 'size' : 'length';
    this.#leftBytes = Number(length ?? 0);
    if (this.#leftBytes === 0 && length !== undefined) this.ended = true;
  }
}
