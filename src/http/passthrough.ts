import { pipeline } from 'node:stream/promises';
import { type Dispatcher, Pool } from 'undici';
import { type ErrorCode, GatewayError } from '../core/errors.ts';
import { responseHeaders } from '../core/headers.ts';
import { KiB } from '../core/units.ts';
import { linger, sendHead } from './answer.ts';
import { ask, type Fetched, rawList } from './ask.ts';
import type { Client } from './client.ts';
import { ClientBody } from './client-body.ts';
import { pooledConnector } from './pooled-socket.ts';
import { checkCoding, checkStatus, upstreamError } from './upstream-error.ts';

export interface PassthroughOptions {
  readonly origin: URL;
  /** Milliseconds; 0 = as long as the kernel tries. */
  readonly connectTimeoutMs: number;
  /** From the last byte of the request to the head of the answer, and between two bytes of the answer; 0 = for ever. */
  readonly responseTimeoutMs: number;
  readonly idleTimeoutMs: number;
}

export interface PassedRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly string[];
  /** Held whole, on its way, or none. */
  readonly body: Buffer | ClientBody | null;
}

/** What came of a request that was passed through. Bytes are those of bodies. */
export interface Passed {
  readonly status: number;
  readonly bytesToClient: number;
}

export interface PassOptions {
  /**
   * Runs when the head of the answer is here, before anything of it is sent; also for a client that has left. What it adds
   * to the client's `answerFields` is sent.
   * @param headers the API's, a flat raw list.
   */
  readonly beforeAnswer?: (status: number, headers: readonly string[]) => Promise<void>;
  /** True: what was begun is carried to its end, although the client leaves. Default false. */
  readonly finishes?: boolean;
  /** Runs when the request may have reached the API, but its answer never comes. */
  readonly lost?: () => Promise<void>;
}

/** Codes of errors that say: the API has not heard of the request. */
const neverArrived: ReadonlySet<ErrorCode> = new Set(['upstream-unreachable', 'upstream-connect-timeout']);

/** Everything that is not an upload, over kept-alive connections to one upstream. */
export class Passthrough {
  readonly #pool: Pool;

  constructor(options: PassthroughOptions) {
    this.#pool = new Pool(options.origin.origin, {
      connections: null,
      pipelining: 1,
      connect: pooledConnector(options.connectTimeoutMs),
      headersTimeout: options.responseTimeoutMs,
      bodyTimeout: options.responseTimeoutMs,
      keepAliveTimeout: options.idleTimeoutMs,
      keepAliveMaxTimeout: options.idleTimeoutMs,
      maxHeaderSize: 64 * KiB,
    });
  }

  /**
   * Sends the request on and its answer back while it arrives; an answer that breaks off breaks off for the client too.
   * @throws GatewayError only as long as nothing of the answer was sent; `client-gone` if the client left before that.
   */
  async pass(client: Client, request: PassedRequest, options: PassOptions = {}): Promise<Passed> {
    const { beforeAnswer = async () => {}, finishes = false, lost = async () => {} } = options;
    const { socket } = client;
    if (socket.destroyed) throw clientGone();
    const gone = new AbortController();
    const onClose = (): void => gone.abort();
    // Node does not tell the close of the connection to every response
    if (!finishes) socket.once('close', onClose);
    try {
      const answer = await this.#request(request, gone.signal).catch(async (error: GatewayError) => {
        if (!neverArrived.has(error.code)) await lost();
        throw error;
      });
      await beforeAnswer(answer.statusCode, answer.headers);
      if (socket.destroyed) {
        await answer.body.dump();
        throw clientGone();
      }
      return { status: answer.statusCode, bytesToClient: await relayBody(client, request, answer) };
    } finally {
      socket.off('close', onClose);
    }
  }

  /** A request of the gateway's own, answered whole. Throws as `pass` does. */
  async fetch(
    method: 'GET' | 'HEAD',
    target: string,
    headers: readonly string[],
    timeoutMs: number,
  ): Promise<Fetched> {
    return await ask(this.#pool, { method, target, headers, body: null, timeoutMs });
  }

  /** Ends idle connections at once and the others with their requests. */
  async close(): Promise<void> {
    await this.#pool.close();
  }

  async destroy(): Promise<void> {
    await this.#pool.destroy();
  }

  /** Throws GatewayErrors only. */
  async #request(
    { method, target, headers, body: sentBody }: PassedRequest,
    signal: AbortSignal,
  ): Promise<PassedAnswer> {
    const sent = [...headers];
    const lengthBytes = Buffer.isBuffer(sentBody) ? sentBody.length : (sentBody?.lengthBytes ?? null);
    if (lengthBytes !== null) sent.push('Content-Length', String(lengthBytes));
    try {
      const {
        statusCode,
        headers: received,
        body,
      } = await this.#pool.request({
        method,
        path: target,
        headers: sent,
        body: sentBody,
        signal,
        responseHeaders: 'raw',
        // to undici whatever is below 200 is no answer yet
        onInfo: (info) => checkStatus(info.statusCode),
      });
      const raw = rawList(received);
      try {
        checkStatus(statusCode);
        checkCoding(raw);
      } catch (error) {
        body.on('error', () => {}).destroy();
        throw error;
      }
      return { statusCode, headers: raw, body };
    } catch (error) {
      throw upstreamError(error);
    }
  }
}

interface PassedAnswer {
  readonly statusCode: number;
  readonly headers: readonly string[];
  readonly body: Dispatcher.ResponseData['body'];
}

/** Sends the answer while it arrives. Resolves with the bytes of its body, also where it broke off. */
async function relayBody(
  client: Client,
  { body: sentBody }: PassedRequest,
  { statusCode, headers: received, body }: PassedAnswer,
): Promise<number> {
  const { request, response, socket, options, answerFields } = client;
  const early = !request.complete;
  // RFC 9110 §8.6: a 204 has none, whatever Glance says
  const headers = responseHeaders(received, { contentLength: statusCode !== 204 });
  headers.push(...answerFields);
  if (early || !options.httpKeepalive) headers.push('Connection', 'close');
  // the end of an early answer is that of our side of the connection: Node would close both
  if (early) response.useChunkedEncodingByDefault = false;
  response.writeHead(statusCode, headers);
  sendHead(client, statusCode);
  let bytesToClient = 0;
  body.on('data', (piece: Buffer) => {
    bytesToClient += piece.length;
  });
  // before the pipeline closes it in order, which to an HTTP/1.0 client is the end of a whole answer
  body.once('error', () => socket.resetAndDestroy());
  try {
    await pipeline(body, response, { end: !early });
    if (early) {
      if (sentBody instanceof ClientBody) sentBody.destroy();
      void linger(client);
    }
  } catch {
    // the head is out: the only honest end of a broken answer is a broken connection
    socket.resetAndDestroy();
  }
  return bytesToClient;
}

const clientGone = (): GatewayError =>
  new GatewayError('client-gone', 'The client closed the connection before it was answered.');
