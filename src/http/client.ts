import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { GatewayError } from '../core/errors.ts';
import type { Scheme } from '../core/forwarded.ts';
import type { RawHeaders } from '../core/headers.ts';

/** What of the configuration concerns the connection of a client. */
export interface ClientOptions {
  readonly httpKeepalive: boolean;
  readonly clientSocketTimeoutMs: number;
  readonly lingering: { readonly timeMs: number; readonly bytes: number };
}

/** One request of a client, and the way back to it. */
export interface Client {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly socket: Socket;
  /** The connection as the kernel knows it: `socket`, or what TLS runs over. */
  readonly wire: Socket;
  readonly headers: RawHeaders;
  /** On every answer to it and in its line of the log: the client's own where it may be taken over. */
  readonly requestId: string;
  /** Address of the peer, IPv4 in dotted form; `unix` for a unix socket; `unknown` where it left before it was asked. */
  readonly peerAddress: string;
  /** True if the client waits for `100 Continue` before it sends its body. */
  readonly expectsContinue: boolean;
  readonly options: ClientOptions;
  /** Added to the answer, whoever makes it: a flat raw list. */
  readonly answerFields: string[];
  /** Told when the rest of the request cannot be parsed; set while somebody carries its body. */
  onBroken: ((error: GatewayError) => void) | null;
  /** The rest of the request cannot be parsed, so nothing more can be read from this connection. */
  broken: boolean;
}

/** How a connection came to us. */
export function schemeOf(socket: Socket): Scheme {
  return 'encrypted' in socket && socket.encrypted === true ? 'https' : 'http';
}
