import type { Dispatcher } from 'undici';
import { KiB } from '../core/units.ts';

/** Held at most, about, for a reader that is not there yet or takes no more: then the API has to wait. */
const mostHeldBytes = 64 * KiB;

/** The rest of an answer that nobody wants is read up to this, to keep its connection; beyond it the connection is given up. */
const mostDiscardedBytes = 128 * KiB;

const nothing = Buffer.alloc(0);

/** What the reader's side asks of whoever brings the body. */
export type BodyController = Pick<Dispatcher.DispatchController, 'pause' | 'resume' | 'abort'>;

/** Who reads the body of an answer. Told of its end or of its failure once, and of nothing after that. */
export interface BodyReader {
  /** False: no more until `resume` is called. */
  piece(piece: Buffer): boolean;
  end(): void;
  failed(error: unknown): void;
}

/**
 * The body of an answer on its way from whoever parses it to one reader. It is no stream of Node's: to build and end one of
 * those, and to join it to the client's answer, cost a small request as much as all the rest of it.
 */
export class AnswerBody implements AsyncIterable<Buffer> {
  readonly #controller: BodyController;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #reader: BodyReader | null = null;
  /** The reader takes no more for now. */
  #stopped = false;
  /** Wakes whoever loops over the pieces. */
  #wake = (): void => {};
  /** Nothing more comes, after what is held. */
  #over: 'ended' | { readonly error: unknown } | null = null;

  constructor(controller: BodyController) {
    this.#controller = controller;
  }

  /** Something of it came along with the head: a piece, or its end. */
  get begun(): boolean {
    return this.#heldBytes > 0 || this.#over !== null;
  }

  /** All of it, where it is here and nobody reads it yet: then nothing is left to be read. Null where it is not. */
  takeWhole(): Buffer | null {
    if (this.#over !== 'ended' || this.#reader !== null || this.#held.length > 1) return null;
    this.#heldBytes = 0;
    return this.#held.shift() ?? nothing;
  }

  /** For the parser's side. */
  push(piece: Buffer): void {
    if (this.#reader !== null && !this.#stopped) {
      if (this.#reader.piece(piece)) return;
      this.#stopped = true;
      this.#controller.pause();
      return;
    }
    this.#held.push(piece);
    this.#heldBytes += piece.length;
    if (this.#heldBytes >= mostHeldBytes) this.#controller.pause();
    this.#wake();
  }

  /** For the parser's side. */
  end(): void {
    this.#over ??= 'ended';
    this.#wake();
    this.#deliver();
  }

  /** For the parser's side. */
  fail(error: unknown): void {
    this.#over ??= { error };
    this.#wake();
    this.#deliver();
  }

  /** Gives all of it to the reader, from the first byte. Once. */
  read(reader: BodyReader): void {
    this.#reader = reader;
    this.resume();
  }

  /** The reader takes more. */
  resume(): void {
    this.#stopped = false;
    this.#deliver();
    if (!this.#stopped && this.#over === null) this.#controller.resume();
  }

  /** Gives the rest up, and the connection with it, which is reset. */
  destroy(): void {
    this.#reader = null;
    this.#held = [];
    if (this.#over !== null) return;
    const error = new Error('nobody reads the answer');
    this.#over = { error };
    this.#controller.abort(error);
  }

  /** Reads on for nobody. Resolves when the answer is over or was given up. */
  async discard(): Promise<void> {
    let bytes = 0;
    try {
      for await (const piece of this) {
        bytes += piece.length;
        if (bytes > mostDiscardedBytes) return;
      }
    } catch {
      // what broke was not wanted
    }
  }

  /** Whoever leaves the loop early gives the rest up. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    try {
      for (;;) {
        const piece = this.#held.shift();
        if (piece !== undefined) {
          this.#heldBytes -= piece.length;
          yield piece;
        } else if (this.#over === 'ended') return;
        else if (this.#over !== null) throw this.#over.error;
        else {
          const woken = new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          this.#controller.resume();
          await woken;
        }
      }
    } finally {
      this.destroy();
    }
  }

  #deliver(): void {
    while (this.#reader !== null && !this.#stopped) {
      const piece = this.#held.shift();
      if (piece === undefined) break;
      this.#heldBytes -= piece.length;
      if (!this.#reader.piece(piece)) this.#stopped = true;
    }
    if (this.#reader === null || this.#held.length > 0 || this.#over === null) return;
    const reader = this.#reader;
    this.#reader = null;
    if (this.#over === 'ended') reader.end();
    else reader.failed(this.#over.error);
  }
}
