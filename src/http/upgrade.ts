import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import httpProxy from 'http-proxy';
import { GatewayError } from '../core/errors.ts';
import type { RawHeaders } from '../core/headers.ts';
import { viaWith } from '../core/via.ts';
import type { ClientOptions } from './client.ts';
import { upstreamError } from './upstream-error.ts';

/** A request for another protocol. Node has let go of the socket: whoever has this answers on it and closes it. */
export interface UpgradeRequest {
  readonly request: IncomingMessage;
  readonly socket: Socket;
  /** What the client sent after the head. */
  readonly head: Buffer;
  /** As in `Client`. */
  readonly peerAddress: string;
  /** As in `Client`. */
  readonly requestId: string;
  readonly lingering: ClientOptions['lingering'];
}

export interface UpgradeEvents {
  /**
   * Told what went wrong before there was an answer: `upstream-*` or `client-gone`. It has to answer at once, because
   * http-proxy ends the socket next.
   */
  refuse(error: GatewayError): void;
  /** Told the headers of the API's answer; gives those that are added to it. Both are flat raw lists. */
  answerFields(answered: RawHeaders): RawHeaders;
}

export interface UpgradeServer {
  readonly origin: URL;
  /** From the request to the head of the answer; 0 = for ever. */
  readonly responseTimeoutMs: number;
}

/**
 * Lets another protocol through to a server, on the routes that allow it. Uploads never go this way.
 * Resolves with the status of the server's answer when the client's connection is closed; null where there was none.
 * The server's connection ends with it.
 * @param sent.target canonical path and query; @param sent.headers what goes upstream, without those of the hop.
 */
export function passUpgrade(
  { request, socket, head }: UpgradeRequest,
  { origin, responseTimeoutMs }: UpgradeServer,
  { target, headers }: { readonly target: string; readonly headers: RawHeaders },
  { refuse, answerFields }: UpgradeEvents,
): Promise<number | null> {
  request.url = target;
  const { upgrade } = request.headers;
  request.headers = { connection: 'Upgrade', ...(upgrade !== undefined && { upgrade }) };
  for (let i = 0; i < headers.length; i += 2)
    request.headers[(headers[i] ?? '').toLowerCase()] = headers[i + 1] ?? '';
  const proxy = httpProxy.createProxyServer({ target: origin.origin, ws: true });
  return new Promise((resolve) => {
    let status: number | null = null;
    socket.once('close', () => resolve(status));
    // one without a listener is thrown; the listener below has seen to it already
    proxy.on('error', () => {});
    proxy.once('proxyReqWs', (sent) => {
      let timer: NodeJS.Timeout | undefined;
      if (responseTimeoutMs > 0) {
        timer = setTimeout(() => {
          const detail = `The API did not answer within ${responseTimeoutMs / 1000} s.`;
          sent.destroy(new GatewayError('upstream-timeout', detail));
        }, responseTimeoutMs);
      }
      const onClose = (): void => {
        sent.destroy(new GatewayError('client-gone', 'The client closed the connection.'));
      };
      const answered = (answer: IncomingMessage, code: number): void => {
        clearTimeout(timer);
        status = code;
        answer.headers.via = viaWith(answer.headers.via, answer.httpVersion);
        const fields = answerFields(answer.rawHeaders);
        for (let i = 0; i < fields.length; i += 2)
          answer.headers[(fields[i] ?? '').toLowerCase()] = fields[i + 1] ?? '';
      };
      socket.once('close', onClose);
      sent.once('close', () => clearTimeout(timer));
      sent.once('error', (error) => {
        if (status === null) refuse(upstreamError(error));
        else socket.destroy();
      });
      sent.once('upgrade', (answer: IncomingMessage, upstream: Socket) => {
        answered(answer, 101);
        socket.off('close', onClose);
        // half a connection is no use to websocket, and the other half might stay for ever
        for (const event of ['end', 'close']) {
          socket.once(event, () => upstream.destroySoon());
          upstream.once(event, () => socket.destroySoon());
        }
      });
      sent.once('response', (answer: IncomingMessage) => {
        answered(answer, answer.statusCode ?? 502);
        // http-proxy writes the head as it is and the body without its frames
        delete answer.headers['transfer-encoding'];
        answer.headers.connection = 'close';
        answer.once('close', () => socket.destroySoon());
      });
    });
    if (socket.destroyed) {
      refuse(new GatewayError('client-gone', 'The client closed the connection.'));
      resolve(null);
    } else proxy.ws(request, socket, head);
  });
}
