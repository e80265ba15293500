import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** One request as it passed on its way to the upstream. */
export interface TappedRequest {
  readonly method: string;
  readonly target: string;
  /** Body bytes that came by so far, without the framing. */
  bodyBytes: number;
  /** When its connection was over, by the clock of `performance.now()`; null before. */
  endedAtMs: number | null;
}

/**
 * A TCP forwarder that reads along and counts the bodies of requests. It changes nothing: ends and
 * resets are passed on as ends and resets, and a side that is not read holds back the other.
 */
export class CountingTap {
  readonly requests: TappedRequest[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  static async start(targetOrigin: string): Promise<CountingTap> {
    const tap = new CountingTap(Number(new URL(targetOrigin).port));
    await new Promise<void>((resolve, reject) => {
      tap.#server.once('error', reject).listen(0, '127.0.0.1', resolve);
    });
    return tap;
  }

  private constructor(targetPort: number) {
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (gateway) => {
      const upstream = connect({ host: '127.0.0.1', port: targetPort, allowHalfOpen: true, noDelay: true });
      const reader = new RequestReader(this.requests);
      gateway.on('data', (bytes) => reader.read(bytes));
      gateway.on('close', () => reader.end());
      this.#join(gateway, upstream);
      this.#join(upstream, gateway);
    });
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Requests with this method for a target that contains `part`. */
  seen(method: string, part: string): TappedRequest[] {
    return this.requests.filter((request) => request.method === method && request.target.includes(part));
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.pipe(to);
    from.on('error', () => to.resetAndDestroy());
    from.on('close', () => this.#sockets.delete(from));
  }
}

const headEnd = Buffer.from('\r\n\r\n');

/** Follows the framing of the requests of one connection. */
class RequestReader {
  readonly #requests: TappedRequest[];
  readonly #own: TappedRequest[] = [];
  #held: Buffer = Buffer.alloc(0);
  #current: TappedRequest | null = null;
  /** What the next bytes are, and for a body or a chunk how many are left. */
  #state: 'head' | 'length body' | 'chunk size' | 'chunk data' | 'chunk end' | 'trailer' = 'head';
  #left = 0;

  constructor(requests: TappedRequest[]) {
    this.#requests = requests;
  }

  read(bytes: Buffer): void {
    this.#held = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    while (this.#step());
  }

  end(): void {
    for (const request of this.#own) request.endedAtMs = performance.now();
  }

  /** Takes one piece of what is held; false if more bytes are needed for the next. */
  #step(): boolean {
    switch (this.#state) {
      case 'head': {
        const head = this.#take(headEnd);
        if (head === null) return false;
        this.#begin(head);
        return true;
      }
      case 'length body':
      case 'chunk data': {
        if (this.#held.length === 0) return false;
        const taken = Math.min(this.#left, this.#held.length);
        this.#held = this.#held.subarray(taken);
        this.#left -= taken;
        if (this.#current !== null) this.#current.bodyBytes += taken;
        if (this.#left === 0) this.#state = this.#state === 'chunk data' ? 'chunk end' : 'head';
        return true;
      }
      case 'chunk size': {
        const line = this.#take(Buffer.from('\r\n'));
        if (line === null) return false;
        this.#left = Number.parseInt(line, 16);
        this.#state = this.#left === 0 ? 'trailer' : 'chunk data';
        return true;
      }
      case 'chunk end':
        if (this.#take(Buffer.from('\r\n')) === null) return false;
        this.#state = 'chunk size';
        return true;
      case 'trailer': {
        const line = this.#take(Buffer.from('\r\n'));
        if (line === null) return false;
        if (line === '') this.#state = 'head';
        return true;
      }
    }
  }

  #begin(head: string): void {
    const [method = '', target = ''] = head.split(' ', 2);
    this.#current = { method, target, bodyBytes: 0, endedAtMs: null };
    this.#requests.push(this.#current);
    this.#own.push(this.#current);
    if (/^transfer-encoding:.*chunked/im.test(head)) {
      this.#state = 'chunk size';
      return;
    }
    this.#left = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
    if (this.#left > 0) this.#state = 'length body';
  }

  #take(end: Buffer): string | null {
    const at = this.#held.indexOf(end);
    if (at < 0) return null;
    const text = this.#held.toString('latin1', 0, at);
    this.#held = this.#held.subarray(at + end.length);
    return text;
  }
}
