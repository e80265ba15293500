import type { Socket } from 'node:net';
import type { GatewayError } from '../core/errors.ts';
import { responseHeaders } from '../core/headers.ts';
import type { Client, ClientOptions } from './client.ts';

export interface Answer {
  readonly status: number;
  /** Names and values in turn, without framing. */
  readonly headers: readonly string[];
  readonly body: Buffer;
}

/**
 * Clients that cannot read a problem document. glanceclient, which Nova and Cinder embed, takes any type with "json"
 * in it for an object of objects and dies of a text among them; keystoneauth and openstacksdk show the text of
 * `application/json` only.
 */
const openstackClients = /\b(?:python-glanceclient|keystoneauth1|openstacksdk|python-openstackclient)\b/;

/** An error of ours as an answer: a problem document (RFC 9457), or what OpenStack's own clients can read. */
export function errorAnswer(error: GatewayError, requestId: string, userAgent: string): Answer {
  const openstack = openstackClients.test(userAgent);
  const headers = [
    'Content-Type',
    openstack ? 'application/json' : 'application/problem+json',
    'Cache-Control',
    'no-store',
    'X-Openstack-Request-Id',
    requestId,
    ...error.headers,
  ];
  if (error.retryAfterSeconds !== null) headers.push('Retry-After', String(error.retryAfterSeconds));
  const document = openstack
    ? { error: { ...error.openstackError(), problem: error.problem() } }
    : error.problem();
  return { status: error.status, headers, body: Buffer.from(`${JSON.stringify(document)}\n`) };
}

/**
 * Tells an error on a connection where Node has no response object, and ends our side of it.
 * @param requestId as in `Client`; a new one where the request could not be read.
 * @param sent told when the kernel has all of it. Default: the connection is closed.
 * @returns bytes of the body of the answer; null where nobody can be told any more.
 */
export function tellRaw(
  socket: Socket,
  error: GatewayError,
  requestId: string,
  sent: () => void = () => socket.destroy(),
): number | null {
  if (!socket.writable) {
    socket.destroy();
    return null;
  }
  const body = `${JSON.stringify(error.problem())}\n`;
  const bodyBytes = Buffer.byteLength(body);
  const head = `HTTP/1.1 ${error.status} ${error.code}\r\nContent-Type: application/problem+json\r\nX-Openstack-Request-Id: ${requestId}\r\nConnection: close\r\n`;
  const retry = error.retryAfterSeconds === null ? '' : `Retry-After: ${error.retryAfterSeconds}\r\n`;
  socket.end(`${head}${retry}Content-Length: ${bodyBytes}\r\n\r\n${body}`, sent);
  return bodyBytes;
}

/**
 * Refuses what comes on a connection that Node has let go of, or never had. What the client sends is read and thrown away
 * within bounds, so that it can read the answer, as with any early answer.
 * @returns bytes of the body of the answer; null where nobody can be told.
 */
export function refuseRaw(
  socket: Socket,
  error: GatewayError,
  requestId: string,
  lingering: ClientOptions['lingering'],
): number | null {
  let bytes = 0;
  const timer = lingering.timeMs > 0 ? setTimeout(() => socket.destroy(), lingering.timeMs) : undefined;
  socket.once('close', () => clearTimeout(timer));
  socket.on('end', () => socket.destroySoon());
  socket.on('data', (piece: Buffer) => {
    bytes += piece.length;
    if (lingering.bytes > 0 && bytes > lingering.bytes) socket.destroy();
  });
  return tellRaw(socket, error, requestId, () => {});
}

/** An answer of the upstream that is held whole, to be sent on. */
export function relayedAnswer(answer: Answer): Answer {
  return { ...answer, headers: responseHeaders(answer.headers, { contentLength: false }) };
}

/**
 * Sends an answer; resolves when the client's kernel has all of it or the connection is gone.
 *
 * Where the request's body is not read to its end, the answer is an early one. Closing at once would make the kernel
 * send a reset, and the client would lose the answer with it. So: answer, end our side, read
 * on and throw away within bounds of time and bytes, close (as nginx' lingering_close). That goes on after this
 * has resolved.
 * @param afterEarly told, when an early answer's connection is closed, whether the client can have read it: false
 *   if it reset the connection.
 */
export async function send(
  client: Client,
  answer: Answer,
  afterEarly: (delivered: boolean) => void = () => {},
): Promise<void> {
  const { request, response, socket, options } = client;
  if (response.destroyed || response.headersSent || socket.destroyed) return;
  // Node parses what arrived in one read to its end before it lets a promise go on: only then is `complete` true
  // for a body that came along with its head
  await Promise.resolve();
  const early = !request.complete;
  const headers = [...answer.headers, ...client.answerFields];
  // RFC 9110 §8.6: no Content-Length with 204, and 304 tells about another body than the one it has
  if (answer.status !== 204 && answer.status !== 304) {
    headers.push('Content-Length', String(answer.body.length));
  }
  if (early || !options.httpKeepalive) headers.push('Connection', 'close');
  response.writeHead(answer.status, headers);
  if (!early) {
    await new Promise<void>((resolve) => {
      response.once('close', () => resolve());
      response.end(answer.body);
    });
    return;
  }
  sendHead(client, answer.status);
  await new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
    response.write(answer.body, () => resolve());
  });
  void linger(client).then(afterEarly);
}

/** Sends the head that was written to the response, before there is a body. */
export function sendHead({ request, response }: Client, status: number): void {
  // Node lets nothing be written where no body follows
  if (status === 204 || status === 304 || request.method === 'HEAD') response.flushHeaders();
  // flushHeaders would write it as UTF-8, and every byte beyond ASCII as two
  else response.write('', 'latin1');
}

/**
 * Ends our side of the connection, reads on within bounds, then closes. False if the client reset the connection, and so
 * may not have read the answer. Nobody else may read the request any more.
 */
export function linger({ request, socket, options, broken }: Client): Promise<boolean> {
  const { timeMs, bytes: mostBytes } = options.lingering;
  return new Promise((resolve) => {
    let bytes = 0;
    const timer = timeMs > 0 ? setTimeout(() => finish(true), timeMs) : undefined;
    const finish = (delivered: boolean): void => {
      clearTimeout(timer);
      request.off('data', onData);
      request.off('end', onEnd);
      request.off('close', onGone);
      socket.destroy();
      resolve(delivered);
    };
    const onData = (piece: Buffer): void => {
      bytes += piece.length;
      if (mostBytes > 0 && bytes > mostBytes) finish(true);
    };
    // the whole body came after all: what is still under way to the client is sent before the close
    const onEnd = (): void => {
      if (socket.writableFinished) finish(true);
      else socket.once('finish', () => finish(true));
    };
    const onGone = (): void => finish(!socket.errored);
    request.on('data', onData);
    request.on('end', onEnd);
    request.on('error', () => {});
    request.on('close', onGone);
    if (socket.destroyed) return onGone();
    socket.end();
    // what cannot be parsed cannot be read on either: no body ends here, so the answer has to do
    if (broken || request.readableEnded) return onEnd();
    request.resume();
  });
}
