import { setImmediate as turn } from 'node:timers/promises';
import { sendHead } from '../http/answer.ts';
import type { AnswerBody } from '../http/answer-body.ts';
import type { Client } from '../http/client.ts';
import { descriptorOf } from '../http/descriptor.ts';
import { flushed } from '../http/flushed.ts';
import type { Moved } from '../http/passthrough.ts';
import type { PooledSocket } from '../http/pooled-socket.ts';
import { Deadline } from './deadline.ts';
import { monotonicMs } from './kernel/monotonic.ts';
import type { RunningTransfer, SpliceEngine } from './kernel/splice-engine.ts';

/** A body of known length on its way to a client, for whom the head is set but not sent. */
export interface DownloadOptions {
  readonly client: Client;
  /** Nobody has read of it. */
  readonly body: AnswerBody;
  /** What the body comes from. Not used again if the download is spliced. */
  readonly source: PooledSocket;
  readonly bytes: number;
  /** For two bytes of the answer; 0 = for ever. */
  readonly responseTimeoutMs: number;
}

/**
 * Moves the body of an answer through the kernel: what Node has read of it goes first.
 * @returns null where that cannot be: nothing has happened then.
 */
export async function spliceDownload(engine: SpliceEngine, options: DownloadOptions): Promise<Moved | null> {
  const { client, source } = options;
  const from = descriptorOf(source);
  const to = descriptorOf(client.socket);
  if (!engine.alive || from === null || to === null) return null;
  return await new Download(engine, options, from, to).carry();
}

class Download {
  readonly #engine: SpliceEngine;
  readonly #options: DownloadOptions;
  readonly #from: number;
  readonly #to: number;
  readonly #pieces: Buffer[] = [];
  #prefixBytes = 0;
  #over = false;
  #streaming = false;
  #whole = false;
  #tellOver = (): void => {};
  readonly #isOver = new Promise<void>((resolve) => {
    this.#tellOver = resolve;
  });
  #transfer: RunningTransfer | null = null;
  readonly #deadline = new Deadline(
    () => Math.min(this.#silenceLeftMs(), this.#takingLeftMs()),
    () => this.#transfer?.cancel(),
  );

  constructor(engine: SpliceEngine, options: DownloadOptions, from: number, to: number) {
    this.#engine = engine;
    this.#options = options;
    this.#from = from;
    this.#to = to;
  }

  async carry(): Promise<Moved> {
    const { client, body, source } = this.#options;
    const { request, response, socket } = client;
    const stop = (): void => {
      this.#over = true;
      this.#tellOver();
      this.#transfer?.cancel();
    };
    const onDrain = (): void => body.resume();
    socket.on('close', stop);
    response.on('drain', onDrain);
    // Node sees nothing of what moves; whose silence it is, is known here
    request.on('timeout', ignore);
    try {
      source.holdReading();
      body.read({
        piece: (piece) => this.#onPiece(piece),
        end: () => this.#tellOver(),
        failed: stop,
      });
      await this.#takeWhatIsRead();
      sendHead(client, response.statusCode);
      for (const piece of this.#pieces.splice(0)) response.write(piece);
      await flushed(socket);
      if (this.#prefixBytes === this.#options.bytes) return this.#end(true);
      if (this.#over) return this.#end(false);
      return await this.#splice();
    } finally {
      this.#deadline.end();
      socket.off('close', stop);
      response.off('drain', onDrain);
      request.off('timeout', ignore);
      // all of it was here already, or is given up by the body: the connection goes on or is reset there
      if (this.#transfer === null) source.readOn();
      // an orderly close: nothing is wrong with an answer that came to its end past its parser
      else if (this.#whole) source.destroy();
      else source.resetAndDestroy();
      body.destroy();
    }
  }

  async #splice(): Promise<Moved> {
    const { client, bytes } = this.#options;
    const transfer = this.#engine.begin({
      source: this.#from,
      sink: this.#to,
      body: { framing: 'length', bytes: bytes - this.#prefixBytes },
      prefix: new Uint8Array(0),
      gate: null,
      // the client has its whole time again with each byte that it takes
      chunkBytes: 1,
      leastRate: null,
      allowedBytes: bytes,
      onMore: ignore,
    });
    if (transfer === null) return await this.#stream();
    this.#transfer = transfer;
    this.#deadline.arm();
    const ended = await transfer.ended;
    if (ended?.end.how === 'sink-lost') client.socket.destroy();
    return this.#end(ended?.end.how === 'sent');
  }

  #end(whole: boolean): Moved {
    this.#whole = whole;
    const sentBytes = this.#transfer?.record.sentBytes ?? 0;
    if (whole) this.#options.client.response.end();
    return { bytes: this.#prefixBytes + sentBytes, whole };
  }

  /** There is no room in the kernel lane: Node reads on. */
  async #stream(): Promise<Moved> {
    this.#streaming = true;
    this.#options.source.readOn();
    this.#options.body.resume();
    await this.#isOver;
    return this.#end(this.#prefixBytes === this.#options.bytes);
  }

  /** What is in the memory of this process of the body. No more comes, so a turn or two bring all of it. */
  async #takeWhatIsRead(): Promise<void> {
    const { source } = this.#options;
    let quiet = 0;
    while (quiet < 2 && !this.#over) {
      const before = this.#prefixBytes;
      await turn();
      quiet = source.readableLength === 0 && this.#prefixBytes === before ? quiet + 1 : 0;
    }
  }

  #onPiece(piece: Buffer): boolean {
    this.#prefixBytes += piece.length;
    if (this.#streaming) return this.#options.client.response.write(piece);
    this.#pieces.push(piece);
    return true;
  }

  /** Until the API has said nothing for too long, while it was listened to. */
  #silenceLeftMs(): number {
    const { responseTimeoutMs } = this.#options;
    const record = this.#transfer?.record;
    if (responseTimeoutMs === 0 || record === undefined) return Infinity;
    if (record.awaited !== 'client') return responseTimeoutMs;
    return responseTimeoutMs - (monotonicMs() - record.lastByteMs);
  }

  /** Until the client has taken nothing for too long, while there was something for it. */
  #takingLeftMs(): number {
    const { clientSocketTimeoutMs } = this.#options.client.options;
    const record = this.#transfer?.record;
    if (clientSocketTimeoutMs === 0 || record === undefined) return Infinity;
    return clientSocketTimeoutMs - record.chunkWaitedMs(monotonicMs());
  }
}

const ignore = (): void => {};
