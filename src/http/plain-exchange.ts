import { plainHead } from '../core/plain-answer.ts';
import { AnswerBody } from './answer-body.ts';
import type { AnswerEvents, PassedRequest } from './connection-pool.ts';
import type { GiveUp } from './give-up.ts';
import type { PlainReader, PooledSocket } from './pooled-socket.ts';
import { answerLate } from './upstream-error.ts';

export interface PlainEvents extends AnswerEvents {
  /** A part of it has come, and more is to come. */
  moved(): void;
  /** What began to come in is not for us to judge: a parser has to, from the first byte. */
  notPlain(begun: Buffer): void;
}

/**
 * One request without a body and its answer, past undici, whose way to the same bytes costs more than all the rest of a small
 * request. Only an answer that is plain is read here; whatever is not is handed on untouched.
 */
export class PlainExchange implements PlainReader {
  readonly #socket: PooledSocket;
  readonly #signal: GiveUp | undefined;
  readonly #events: PlainEvents;
  #body: AnswerBody | null = null;
  #leftBytes = 0;

  constructor(socket: PooledSocket, signal: GiveUp | undefined, events: PlainEvents) {
    this.#socket = socket;
    this.#signal = signal;
    this.#events = events;
  }

  /** Never throws. */
  begin(request: PassedRequest): void {
    if (this.#signal?.aborted) return this.#onAbort();
    this.#signal?.addEventListener('abort', this.#onAbort);
    this.#socket.plainReader = this;
    this.#socket.write(plainRequest(request), 'latin1');
  }

  /** Nothing has come for too long. */
  late(): void {
    this.#giveUp(answerLate());
  }

  take(bytes: Buffer): void {
    if (this.#body !== null) return this.#takeBody(this.#body, bytes);
    const head = plainHead(bytes);
    if (head === null || bytes.length > head.headBytes + head.bodyBytes) {
      this.#letGo();
      this.#events.notPlain(bytes);
      return;
    }
    this.#leftBytes = head.bodyBytes;
    const body = new AnswerBody(this.#controller);
    this.#body = body;
    // what came with the head is there when the answer is told
    const came = bytes.subarray(head.headBytes);
    if (came.length > 0) body.push(came);
    this.#leftBytes -= came.length;
    const whole = this.#leftBytes === 0;
    if (whole) body.end();
    this.#events.answered({ status: head.status, headers: head.headers, body, movable: false });
    if (whole) this.#over(null);
    else this.#events.moved();
  }

  /** The connection is gone. */
  lost(error: Error | null): void {
    this.#end(error ?? new Error('the API closed the connection'));
  }

  #takeBody(body: AnswerBody, bytes: Buffer): void {
    // more than was announced: nobody knows what it is of
    if (bytes.length > this.#leftBytes) return this.#giveUp(new Error('the answer goes on after its end'));
    this.#leftBytes -= bytes.length;
    body.push(bytes);
    if (this.#leftBytes > 0) return this.#events.moved();
    this.#over(null);
    body.end();
  }

  readonly #onAbort = (): void => this.#giveUp(this.#signal?.reason);

  /** What is held is bounded by the length of the body: nothing has to be stopped. */
  readonly #controller = {
    pause: (): void => {},
    resume: (): void => {},
    abort: (reason: Error): void => this.#giveUp(reason),
  };

  #giveUp(reason: unknown): void {
    const error = reason instanceof Error ? reason : new Error(String(reason));
    this.#end(error);
    this.#socket.destroy(error);
  }

  #end(error: unknown): void {
    this.#over(error);
    if (this.#body === null) this.#events.failed(error);
    else this.#body.fail(error);
  }

  #over(error: unknown): void {
    this.#letGo();
    this.#events.over(error);
  }

  #letGo(): void {
    this.#signal?.removeEventListener('abort', this.#onAbort);
    if (this.#socket.plainReader === this) this.#socket.plainReader = null;
  }
}

/** The head as undici would write it, which is what a server sees of the same request by either way. */
export function plainRequest({ method, target, headers }: PassedRequest): string {
  let host = '';
  let fields = '';
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? '';
    const value = headers[i + 1] ?? '';
    if (name.length === 4 && name.toLowerCase() === 'host') host = value;
    else fields += `${name}: ${value}\r\n`;
  }
  return `${method} ${target} HTTP/1.1\r\nhost: ${host}\r\nconnection: keep-alive\r\n${fields}\r\n`;
}
