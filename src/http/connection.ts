import type { Socket } from 'node:net';
import type { GatewayError } from '../core/errors.ts';
import type { Client } from './client.ts';

/**
 * How many requests may wait on one connection behind the one that is being answered. Clients of images do not
 * pipeline; what is parsed and waits costs some kilobytes each.
 */
const mostWaiting = 32;

/** Requests that a connection may send after the last one that is answered, before it is cut. */
const mostIgnored = 1_000;

export interface ConnectionEvents {
  /** The turn of this request has come. */
  begin(client: Client): void;
  /**
   * What could not be read is due: everything before it is answered.
   * @param cut the request whose rest it is; null where not even a head could be read.
   */
  unreadable(error: GatewayError, cut: Client | null): void;
  /** The connection closed before the turn of this request came. */
  dropped(client: Client): void;
}

/**
 * One connection of a client. Node hands on every request as soon as its head is parsed, however many came in one go, but
 * can answer them in their order only. So one exchange is under way at a time, and the others wait: otherwise one
 * connection could open any number of them, and Node does not tell of the close of a connection where an answer is queued.
 */
export class Connection {
  readonly socket: Socket;
  /** As in `Client`. */
  readonly wire: Socket;
  /** Address of the peer, IPv4 in dotted form; `unix` for a unix socket. */
  readonly peerAddress: string;
  /** It speaks another protocol now, or is about to. */
  upgraded = false;
  readonly #events: ConnectionEvents;
  readonly #bytesBefore: number;
  readonly #waiting: Client[] = [];
  #current: Client | null = null;
  #unreadable: { readonly error: GatewayError; readonly cut: Client | null } | null = null;
  #ignored = 0;
  /** An answer has said `close`: what follows is not carried out (RFC 9112 §9.6). */
  #over = false;

  constructor(socket: Socket, wire: Socket, peerAddress: string, events: ConnectionEvents) {
    this.socket = socket;
    this.wire = wire;
    this.peerAddress = peerAddress;
    this.#events = events;
    // a PROXY header; not what came along with it
    this.#bytesBefore = socket.bytesRead - socket.readableLength;
    socket.on('close', () => this.#onClose());
  }

  /** The request that is being answered. */
  get current(): Client | null {
    return this.#current;
  }

  /** Nothing has come yet, not even a part of a head. */
  get untouched(): boolean {
    return this.socket.bytesRead === this.#bytesBefore;
  }

  /** No request is under way: nothing came, or a part of a head, or everything is answered. */
  get idle(): boolean {
    return this.#current === null && !this.upgraded;
  }

  /**
   * Begins the exchange of a request, or lets it wait for its turn. Beyond `mostWaiting` the answer to the last one that
   * waits says `close`, and what follows is not answered (RFC 9112 §9.6): the client sends it again on another connection.
   */
  take(client: Client): void {
    if (this.#current === null && !this.#over) return this.#begin(client);
    if (this.#waiting.length < mostWaiting) {
      this.#waiting.push(client);
      return;
    }
    for (const last of this.#waiting.slice(-1)) last.response.shouldKeepAlive = false;
    this.#ignored += 1;
    if (this.#ignored > mostIgnored) this.socket.destroy();
  }

  /** The connection ends after the request under way. */
  endAfterCurrent(): void {
    if (this.#current !== null) this.#current.response.shouldKeepAlive = false;
  }

  /** The rest of what came cannot be read. A request that waits for its turn and is not whole goes with it. */
  breakOff(errorFor: (cut: Client | null) => GatewayError): void {
    const last = this.#waiting.at(-1);
    const cut = last !== undefined && !last.request.complete ? last : null;
    if (cut !== null) this.#waiting.pop();
    this.#unreadable = { error: errorFor(cut), cut };
    if (this.#current === null && !this.#over) this.#tellUnreadable();
  }

  #begin(client: Client): void {
    this.#current = client;
    client.response.once('close', () => this.#next(client.response.shouldKeepAlive));
    this.#events.begin(client);
  }

  #next(keptAlive: boolean): void {
    this.#current = null;
    this.#over ||= !keptAlive;
    if (this.socket.destroyed || this.#over) return;
    const next = this.#waiting.shift();
    if (next !== undefined) this.#begin(next);
    else this.#tellUnreadable();
  }

  #tellUnreadable(): void {
    if (this.#unreadable === null) return;
    const { error, cut } = this.#unreadable;
    this.#unreadable = null;
    this.#events.unreadable(error, cut);
  }

  #onClose(): void {
    for (const client of this.#waiting.splice(0)) this.#events.dropped(client);
  }
}
