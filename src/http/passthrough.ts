import { pipeline } from 'node:stream/promises';
import { Pool } from 'undici';
import { responseHeaders } from '../core/headers.ts';
import { KiB } from '../core/units.ts';
import { ask, type Fetched, rawList } from './ask.ts';
import type { Client } from './client.ts';
import type { ClientBody } from './client-body.ts';
import { checkStatus, upstreamError } from './upstream-error.ts';

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
    beforeAnswer: (status: number, headers: readonly string[]) => Promise<void> = async () => {},
  ): Promise<Passed> {
    const { response, socket, options } = client;
    const gone = new AbortController();
    const onClose = (): void => gone.abort();
    response.once('close', onClose);
    try {
      const answer = await this.#request(request, gone.signal);
      await beforeAnswer(answer.statusCode, answer.headers);
      // RFC 9110 §8.6: a 204 has none, whatever Glance says
      const headers = responseHeaders(answer.headers, { contentLength: answer.statusCode !== 204 });
      headers.push(...client.answerFields);
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
    return await ask(this.#pool, { method, target, headers, body: null, timeoutMs });
  }

  /** Ends idle connections at once and the others with their requests. */
  async close(): Promise<void> {
    await this.#pool.close();
  }

  async destroy(): Promise<void> {
    await this.#pool.destroy();
  }

  async #request({ method, target, headers, body: sentBody }: PassedRequest, signal: AbortSignal) {
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
      try {
        checkStatus(statusCode);
      } catch (error) {
        body.on('error', () => {}).destroy();
        throw error;
      }
      return { statusCode, headers: rawList(received), body };
    } catch (error) {
      throw upstreamError(error);
    }
  }
}
