import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import httpProxy from 'http-proxy';
import type { GatewayError } from '../core/errors.ts';

/** Lets another protocol through to the upstream, on the routes that allow it. Uploads never go this way. */
export class Upgrades {
  readonly #proxy: httpProxy;

  constructor(origin: URL, failed: (error: Error) => void) {
    this.#proxy = httpProxy.createProxyServer({ target: origin.origin, ws: true });
    this.#proxy.on('error', (error, _request, socket) => {
      failed(error);
      socket.destroy();
    });
  }

  /** @param target canonical path and query; @param headers what goes upstream, without those of the hop. */
  pass(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    target: string,
    headers: readonly string[],
  ): void {
    request.url = target;
    const { upgrade } = request.headers;
    request.headers = { connection: 'Upgrade', ...(upgrade !== undefined && { upgrade }) };
    for (let i = 0; i < headers.length; i += 2)
      request.headers[(headers[i] ?? '').toLowerCase()] = headers[i + 1] ?? '';
    this.#proxy.ws(request, socket, head);
  }
}

/** Answers on a bare socket: after an upgrade request Node has no response object. */
export function refuseUpgrade(socket: Duplex, error: GatewayError, requestId: string): void {
  const body = `${JSON.stringify(error.problem())}\n`;
  const head = `HTTP/1.1 ${error.status} ${error.code}\r\nContent-Type: application/problem+json\r\nX-Openstack-Request-Id: ${requestId}\r\nConnection: close\r\n`;
  socket.end(`${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`, () => socket.destroy());
}
