import { pipeline } from 'node:stream/promises';
import { Pool } from 'undici';
import { GatewayError } from '../core/errors.ts';
import type { BodyFraming } from '../core/framing.ts';
import { responseHeaders } from '../core/headers.ts';
import { KiB, MiB } from '../core/units.ts';
import type { Client } from './client.ts';

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
  readonly framing: BodyFraming;
}

/** What came of a request that was passed through. Bytes are those of bodies. */
export interface Passed {
  readonly status: number;
  readonly bytesToClient: number;
}

/** An answer that was asked for by the gateway itself. */
export interface Fetched {
  readonly status: number;
  readonly body: Buffer;
}

/** The most that is read of an answer to a request of our own: a page of 1,000 image records is about 2 MiB. */
const mostFetchedBytes = 64 * MiB;

/** Everything that is not an upload, over kept-alive connections to one upstream. */
export class Passthrough {
  readonly #pool: Pool;

  constructor(options: PassthroughOptions) {
    this.#pool = new Pool(options.origin.origin, {
      connections: null,
      pipelining: 1,
      connectTimeout: options.connectTimeoutMs,
      headersTimeout: options.responseTimeoutMs,
      bodyTimeout: options.responseTimeoutMs,
      keepAliveTimeout: options.idleTimeoutMs,
      keepAliveMaxTimeout: options.idleTimeoutMs,
      maxHeaderSize: 64 * KiB,
    });
  }

  /**
   * Sends the request on and its answer back while it arrives; an answer that breaks off breaks off for the client too.
   * @param beforeAnswer runs when the head of the answer is here, before anything of it is sent.
   * @throws GatewayError only as long as nothing of the answer was sent.
   */
  async pass(
    client: Client,
    request: PassedRequest,
    beforeAnswer: (status: number) => Promise<void> = async () => {},
  ): Promise<Passed> {
    const { response, socket, options } = client;
    const gone = new AbortController();
    const onClose = (): void => gone.abort();
    response.once('close', onClose);
    try {
      const answer = await this.#request(client, request, gone.signal);
      await beforeAnswer(answer.statusCode);
      // RFC 9110 §8.6: a 204 has none, whatever Glance says
      const headers = responseHeaders(answer.headers, { contentLength: answer.statusCode !== 204 });
      if (!client.request.complete || !options.httpKeepalive) headers.push('Connection', 'close');
      response.writeHead(answer.statusCode, headers);
      response.flushHeaders();
      let bytesToClient = 0;
      answer.body.on('data', (piece: Buffer) => {
        bytesToClient += piece.length;
      });
      try {
        await pipeline(answer.body, response);
      } catch {
        // the head is out: the only honest end of a broken answer is a broken connection
        socket.resetAndDestroy();
      }
      return { status: answer.statusCode, bytesToClient };
    } finally {
      response.off('close', onClose);
    }
  }

  /** A request of the gateway's own, answered whole. Throws as `pass` does. */
  async fetch(
    method: 'GET',
    target: string,
    headers: readonly string[],
    timeoutMs: number,
  ): Promise<Fetched> {
    try {
      const answer = await this.#pool.request({
        method,
        path: target,
        headers: [...headers],
        ...(timeoutMs > 0 && { signal: AbortSignal.timeout(timeoutMs) }),
      });
      const pieces: Buffer[] = [];
      let bytes = 0;
      for await (const piece of answer.body as AsyncIterable<Buffer>) {
        bytes += piece.length;
        if (bytes > mostFetchedBytes)
          throw new GatewayError('upstream-invalid', 'The answer of the API is too long.');
        pieces.push(piece);
      }
      return { status: answer.statusCode, body: Buffer.concat(pieces) };
    } catch (error) {
      throw upstreamError(error);
    }
  }

  /** Ends idle connections at once and the others with their requests. */
  async close(): Promise<void> {
    await this.#pool.close();
  }

  async destroy(): Promise<void> {
    await this.#pool.destroy();
  }

  async #request(client: Client, { method, target, headers, framing }: PassedRequest, signal: AbortSignal) {
    const sent = [...headers];
    if (framing.kind === 'length') sent.push('Content-Length', String(framing.bytes));
    try {
      const {
        statusCode,
        headers: received,
        body,
      } = await this.#pool.request({
        method,
        path: target,
        headers: sent,
        body:
          framing.kind === 'none' || (framing.kind === 'length' && framing.bytes === 0)
            ? null
            : client.request,
        signal,
        responseHeaders: 'raw',
      });
      return { statusCode, headers: rawList(received), body };
    } catch (error) {
      throw upstreamError(error);
    }
  }
}

/** undici's types say "object of headers" for what `responseHeaders: 'raw'` makes a flat list. */
function rawList(headers: unknown): string[] {
  if (!Array.isArray(headers)) throw new Error('undici gave no raw list of headers');
  return headers.map((text: unknown) => (Buffer.isBuffer(text) ? text.toString('latin1') : String(text)));
}

/** What undici throws, by its stable codes, in our words. */
function upstreamError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const more = { cause: error };
  switch (code) {
    case 'UND_ERR_CONNECT_TIMEOUT':
      return new GatewayError('upstream-connect-timeout', 'No connection in time.', more);
    case 'UND_ERR_HEADERS_TIMEOUT':
    case 'UND_ERR_BODY_TIMEOUT':
      return new GatewayError('upstream-timeout', 'No answer in time.', more);
    case 'ECONNREFUSED':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new GatewayError('upstream-unreachable', 'The connection was refused or cannot be made.', more);
    case 'UND_ERR_HEADERS_OVERFLOW':
      return new GatewayError('upstream-invalid', 'The head of the answer is too large.', more);
    case 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH':
    case 'UND_ERR_ABORTED':
      return new GatewayError('client-gone', 'The client closed the connection.', more);
    default: {
      if (error instanceof Error && error.name === 'TimeoutError') {
        return new GatewayError('upstream-timeout', 'No answer in time.', more);
      }
      if (error instanceof Error && error.name === 'AbortError') {
        return new GatewayError('client-gone', 'The client closed the connection.', more);
      }
      const unparsable = error instanceof Error && error.name === 'HTTPParserError';
      if (unparsable || code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH') {
        return new GatewayError('upstream-invalid', 'The answer of the API cannot be parsed.', more);
      }
      return new GatewayError('upstream-lost', 'The API closed the connection without a whole answer.', more);
    }
  }
}
