import type { Socket } from 'node:net';
import type { Server, TLSSocket } from 'node:tls';
import type { ListenerTls } from '../config/config.ts';
import { provenClient, readProxyHeader } from '../core/proxy-header.ts';
import { newTlsServer } from './tls-server.ts';

// What comes before HTTP on a connection: the PROXY header, then the handshake of TLS.

export const entranceStages = ['proxy-header', 'tls'] as const;

/**
 * Why a connection ended before it could carry HTTP. `untrusted`: the peer may send no PROXY header, and nothing else is
 * taken; `client-certificate`: there is none, or no authority signed it; `invalid`: what came is no such header, or no
 * handshake that leads anywhere.
 */
export const entranceReasons = [
  'untrusted',
  'plain-http',
  'client-certificate',
  'invalid',
  'timeout',
  'client-gone',
] as const;

export interface EntranceFailure {
  readonly stage: (typeof entranceStages)[number];
  readonly reason: (typeof entranceReasons)[number];
  /** As in `Client`; whom the PROXY header names, if it was read. */
  readonly peerAddress: string;
  /** More, for the log. */
  readonly detail: string;
}

export interface EntranceOptions {
  readonly tls: ListenerTls | null;
  readonly proxyProtocol: boolean;
  /** Whose PROXY header is believed; asked as `Networks.has`. */
  readonly trustsProxy: (address: string) => boolean;
  /** For all of it, from the accept on; 0 = for ever. */
  readonly timeMs: number;
}

export interface EntranceEvents {
  /**
   * HTTP may begin. The socket is not read yet, and may hold bytes already.
   * @param wire the socket that was admitted: the same, or what TLS runs over.
   */
  arrived(socket: Socket, wire: Socket, peerAddress: string): void;
  /** Plain HTTP came where TLS has to be. Whoever is told answers, and closes the connection. */
  plainHttp(socket: Socket, peerAddress: string): void;
  /** The connection is closed, or will be soon. */
  failed(failure: EntranceFailure): void;
}

/** A connection on its way in. */
interface Arrival {
  /** The peer, or whom its PROXY header names. */
  address: string;
  readonly timer: NodeJS.Timeout | undefined;
  readonly onClose: () => void;
  stage: EntranceFailure['stage'];
}

/** Leads connections from the accept to HTTP. */
export class Entrance {
  readonly #events: EntranceEvents;
  readonly #arrivals = new Map<Socket, Arrival>();
  #options: EntranceOptions;
  #tlsServer: Server | null;

  /** @throws Error of the library of TLS where it does not accept a certificate. */
  constructor(options: EntranceOptions, events: EntranceEvents) {
    this.#options = options;
    this.#events = events;
    this.#tlsServer = this.#newTlsServer(options);
  }

  /** Holds for connections that come later. Throws as the constructor, and changes nothing then. */
  reconfigure(options: EntranceOptions): void {
    this.#tlsServer = this.#newTlsServer(options);
    this.#options = options;
  }

  /** @param peer address of the peer, as `Client.peerAddress`; `unknown` where it has gone already. */
  admit(socket: Socket, peer: string): void {
    const { proxyProtocol, trustsProxy, timeMs } = this.#options;
    const tlsServer = this.#tlsServer;
    if (!proxyProtocol && tlsServer === null) return this.#events.arrived(socket, socket, peer);
    const stage = proxyProtocol ? 'proxy-header' : 'tls';
    const late = (): void => this.#fail(socket, 'timeout', `not over after ${timeMs / 1000} s`);
    const arrival: Arrival = {
      address: peer,
      stage,
      timer: timeMs > 0 ? setTimeout(late, timeMs) : undefined,
      onClose: () => this.#fail(socket, 'client-gone', 'the connection was closed'),
    };
    this.#arrivals.set(socket, arrival);
    // it owes and is owed nothing yet: whoever closes its side is gone
    socket.allowHalfOpen = false;
    socket.on('error', ignore);
    socket.once('close', arrival.onClose);
    // HAProxy's checks connect and reset
    if (peer === 'unknown') return this.#fail(socket, 'client-gone', 'reset before it was accepted');
    if (!proxyProtocol) return this.#awaitTls(socket, tlsServer);
    if (!trustsProxy(peer)) return this.#fail(socket, 'untrusted', 'the peer is not in trusted_proxies');
    this.#read(socket, (received) => {
      const header = readProxyHeader(received);
      if (header.state === 'incomplete') return false;
      if (header.state === 'invalid') {
        this.#fail(socket, 'invalid', header.reason);
        return true;
      }
      const rest = received.subarray(header.bytes);
      if (rest.length > 0) socket.unshift(rest);
      arrival.address = provenClient(header.client, peer);
      if (tlsServer === null) this.#arrive(socket, socket);
      else this.#awaitTls(socket, tlsServer);
      return true;
    });
  }

  /** Ends what has not become HTTP. */
  close(): void {
    for (const socket of [...this.#arrivals.keys()]) {
      this.#letGo(socket);
      socket.destroy();
    }
  }

  /** Looks at the first byte: what is no TLS but HTTP gets an answer that says so. */
  #awaitTls(socket: Socket, tlsServer: Server | null): void {
    const arrival = this.#arrivals.get(socket);
    if (arrival === undefined || tlsServer === null) return void socket.destroy();
    arrival.stage = 'tls';
    this.#read(socket, (received) => {
      if (isHttp(received)) {
        const peerAddress = arrival.address;
        const detail = 'the connection begins with plain HTTP';
        this.#events.failed({ stage: 'tls', reason: 'plain-http', peerAddress, detail });
        this.#letGo(socket);
        this.#events.plainHttp(socket, peerAddress);
      } else {
        // its end is told from now on as that of the handshake, with the reason
        socket.off('close', arrival.onClose);
        socket.unshift(received);
        tlsServer.emit('connection', socket);
      }
      return true;
    });
  }

  /**
   * Reads until there is enough, then leaves the socket unread.
   * @param take told all that has arrived, at least one byte; true if that was enough.
   */
  #read(socket: Socket, take: (received: Buffer) => boolean): void {
    let received: Buffer = Buffer.alloc(0);
    const onData = (piece: Buffer): void => {
      received = received.length === 0 ? piece : Buffer.concat([received, piece]);
      socket.off('data', onData);
      socket.pause();
      if (take(received)) return;
      socket.on('data', onData);
      socket.resume();
    };
    socket.on('data', onData);
    socket.resume();
  }

  #newTlsServer({ tls }: EntranceOptions): Server | null {
    if (tls === null) return null;
    return newTlsServer(tls, {
      secure: (socket, wire) => this.#arrive(socket, wire),
      failed: (error, socket, wire) => {
        const [reason, detail] = handshakeFailure(error, socket);
        this.#fail(wire, reason, detail);
      },
    });
  }

  #arrive(socket: Socket, wire: Socket): void {
    const arrival = this.#arrivals.get(wire);
    if (arrival === undefined) return void socket.destroy();
    this.#letGo(wire);
    // who has said all may still want to hear
    socket.allowHalfOpen = true;
    this.#events.arrived(socket, wire, arrival.address);
    socket.resume();
  }

  #fail(socket: Socket, reason: EntranceFailure['reason'], detail: string): void {
    const arrival = this.#arrivals.get(socket);
    if (arrival === undefined) return;
    this.#letGo(socket);
    socket.destroy();
    this.#events.failed({ stage: arrival.stage, reason, peerAddress: arrival.address, detail });
  }

  #letGo(socket: Socket): void {
    const arrival = this.#arrivals.get(socket);
    if (arrival === undefined) return;
    this.#arrivals.delete(socket);
    clearTimeout(arrival.timer);
    socket.off('close', arrival.onClose);
  }
}

const ignore = (): void => {};

/** A method begins with a letter, a handshake with a byte of 22 (RFC 8446 §5.1). */
const isHttp = ([first = 0]: Uint8Array): boolean => first >= 0x41 && first <= 0x5a;

function handshakeFailure(
  { code, message }: NodeJS.ErrnoException,
  { authorizationError }: TLSSocket,
): [EntranceFailure['reason'], string] {
  if (authorizationError) return ['client-certificate', String(authorizationError)];
  const detail = code ?? message;
  if (code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE') return ['client-certificate', detail];
  return [code === 'ECONNRESET' || code === 'EPIPE' ? 'client-gone' : 'invalid', detail];
}
