import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

/**
 * What becomes of a connection that has answered once: it is closed at once with the answer, a moment later, or when the
 * next head is here, by FIN or by RST; or nothing.
 */
export type Staleness = 'with-answer' | 'soon' | 'fin-on-next' | 'reset-on-next' | 'stays';

/** An upstream that answers the first request of each connection with 200, and what it does to the connection then is drawn. */
export class StaleUpstream {
  /** The request lines that were answered, oldest first. */
  readonly answered: string[] = [];
  /** The request lines that came on a connection that was closed instead. */
  readonly unanswered: string[] = [];
  connections = 0;
  /** True: nothing is answered any more, on new connections neither. */
  broken = false;
  readonly #draw: () => Staleness;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  static async start(draw: () => Staleness): Promise<StaleUpstream> {
    const upstream = new StaleUpstream(draw);
    upstream.#server.listen(0, '127.0.0.1');
    await once(upstream.#server, 'listening');
    return upstream;
  }

  private constructor(draw: () => Staleness) {
    this.#draw = draw;
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    return `http://127.0.0.1:${address.port}`;
  }

  /** Connections that are open now. */
  get open(): number {
    return this.#sockets.size;
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #accept(socket: Socket): void {
    this.connections += 1;
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => {});
    let received = '';
    let fate: Staleness | null = null;
    socket.on('data', (bytes: Buffer) => {
      received += bytes.toString('latin1');
      const request = whole(received);
      if (request === null) return;
      received = '';
      // also one that crossed our FIN on its way: nobody can be answered any more
      if (this.broken || (fate !== null && fate !== 'stays')) {
        this.unanswered.push(request);
        if (fate === 'reset-on-next') socket.resetAndDestroy();
        else socket.destroy();
        return;
      }
      this.answered.push(request);
      fate = this.#draw();
      const answer = `HTTP/1.1 200 OK\r\nContent-Length: ${request.startsWith('HEAD') ? 0 : 2}\r\n\r\n`;
      socket.write(request.startsWith('HEAD') ? answer : `${answer}ok`);
      if (fate === 'with-answer') socket.end();
      if (fate === 'soon') setImmediate(() => socket.end());
    });
  }
}

/** The request line once head and body are here. Bodies of these tests say their length. */
function whole(received: string): string | null {
  const end = received.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const lengthBytes = Number(/\r\ncontent-length: (\d+)/i.exec(received)?.[1] ?? 0);
  if (received.length < end + 4 + lengthBytes) return null;
  return received.slice(0, received.indexOf(' HTTP/1.1'));
}
