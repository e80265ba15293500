import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { GatewayError } from '../core/errors.ts';
import type { BodyFraming } from '../core/framing.ts';
import { KiB } from '../core/units.ts';
import type { Client } from './client.ts';

/**
 * The body of a request that is no upload, on its way to whoever reads it. Unlike the request itself it may be
 * destroyed without harm: the client's connection lives on, so that the reason can be told on it.
 *
 * Fails with a GatewayError: `body-too-large`, `body-invalid`, `client-gone`, `client-stalled`.
 */
export class ClientBody extends Readable {
  /** As announced, in bytes; null for a body in chunks. */
  readonly lengthBytes: number | null;
  /** Read from the client until now. */
  receivedBytes = 0;
  readonly #client: Client;
  readonly #maxBytes: number;

  /** @param maxBytes the most that is given to the reader; 0 = no limit. */
  constructor(client: Client, lengthBytes: number | null, maxBytes: number) {
    super({ highWaterMark: 64 * KiB });
    this.#client = client;
    this.lengthBytes = lengthBytes;
    this.#maxBytes = maxBytes;
    const { request } = client;
    // the reader is told by its own listener; without any the process would end
    this.on('error', () => {});
    client.onBroken = this.#onBroken;
    request.on('data', this.#onData);
    request.on('end', this.#onEnd);
    request.on('close', this.#onClose);
    // who listens here is asked whose fault a silence is
    request.on('timeout', this.#onSilence);
    request.pause();
    if (request.destroyed) this.#onClose();
  }

  /** All of it, held in memory. */
  whole(): Promise<Buffer> {
    return buffer(this);
  }

  override _read(): void {
    const { request, socket, options } = this.#client;
    // its time begins now, whatever passed while nobody read
    if (request.isPaused()) socket.setTimeout(options.clientSocketTimeoutMs);
    request.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#letGo();
    callback(error);
  }

  readonly #onData = (piece: Buffer): void => {
    this.receivedBytes += piece.length;
    if (this.#maxBytes > 0 && this.receivedBytes > this.#maxBytes) {
      this.destroy(tooLarge(`The body goes on after ${this.#maxBytes} bytes.`, this.#maxBytes));
    } else if (!this.push(piece)) this.#client.request.pause();
  };

  readonly #onEnd = (): void => {
    this.#letGo();
    this.push(null);
  };

  readonly #onClose = (): void => {
    const detail = `The connection closed after ${this.receivedBytes} bytes of the body.`;
    this.destroy(new GatewayError('client-gone', detail));
  };

  readonly #onBroken = (error: GatewayError): void => {
    this.destroy(error);
  };

  readonly #onSilence = (): void => {
    const { request, socket, options } = this.#client;
    // nobody reads: it is not the client who is slow. Node's timer is spent, so wind it up again
    if (request.isPaused()) return void socket.setTimeout(options.clientSocketTimeoutMs);
    const detail = `Nothing arrived for ${options.clientSocketTimeoutMs / 1000} s in the middle of the body.`;
    this.destroy(new GatewayError('client-stalled', detail));
  };

  /** Leaves the rest of the body, if there is one, to whoever answers the client. */
  #letGo(): void {
    const { request } = this.#client;
    if (this.#client.onBroken === this.#onBroken) this.#client.onBroken = null;
    request.off('data', this.#onData);
    request.off('end', this.#onEnd);
    request.off('close', this.#onClose);
    request.off('timeout', this.#onSilence);
    if (!request.readableEnded) request.pause();
  }
}

/**
 * Asks the client for its body, by `100 Continue` where it waits for that. Null where the request has none.
 * @param maxBytes the largest body; 0 = no limit.
 * @throws GatewayError `body-too-large` before a byte is asked for, if the length says so.
 */
export function openBody(client: Client, framing: BodyFraming, maxBytes: number): ClientBody | null {
  const lengthBytes = framing.kind === 'chunked' ? null : framing.kind === 'length' ? framing.bytes : 0;
  if (maxBytes > 0 && lengthBytes !== null && lengthBytes > maxBytes) {
    throw tooLarge(`${lengthBytes} bytes were announced.`, maxBytes, lengthBytes);
  }
  if (client.expectsContinue) client.response.writeContinue();
  return lengthBytes === 0 ? null : new ClientBody(client, lengthBytes, maxBytes);
}

function tooLarge(detail: string, limit: number, requested?: number): GatewayError {
  return new GatewayError('body-too-large', `The body may have ${limit} bytes. ${detail}`, {
    facts: { limit, ...(requested !== undefined && { requested }) },
  });
}
