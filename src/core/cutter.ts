import { ByteQueue, blockBytes } from './byte-queue.ts';

/**
 * Turns the body as the client cut it into what goes on the wire upstream. Pure: bytes in, bytes out.
 * What `take` returns is written in one go, and holds `bodyBytes` bytes of the body.
 */
export interface Cutter {
  /** Bytes of the body taken in and not yet taken out. */
  readonly heldBytes: number;
  /** The piece is the cutter's from now on: nobody may write to it again. */
  push(piece: Buffer): void;
  /**
   * The next write, of at most 64 KiB of body, or null when there is nothing to write yet.
   * @param allowedBytes how much of the body may go upstream in all, from its first byte.
   * @param flush true to send what there is instead of waiting for more.
   */
  take(allowedBytes: number, flush: boolean): Write | null;
  /** What follows the last byte of the body. Only after `take` has returned everything. */
  end(): Write | null;
}

export interface Write {
  readonly parts: readonly (Buffer | string)[];
  readonly bodyBytes: number;
}

/** For a body of known length: no framing, nothing is ever held back. */
export class LengthCutter implements Cutter {
  readonly #queue = new ByteQueue();
  #takenBytes = 0;

  get heldBytes(): number {
    return this.#queue.heldBytes;
  }

  push(piece: Buffer): void {
    this.#queue.push(piece);
  }

  take(allowedBytes: number): Write | null {
    const bodyBytes = Math.min(blockBytes, allowedBytes - this.#takenBytes, this.#queue.heldBytes);
    if (bodyBytes <= 0) return null;
    this.#takenBytes += bodyBytes;
    return { parts: this.#queue.shift(bodyBytes), bodyBytes };
  }

  end(): Write | null {
    return null;
  }
}

/**
 * For a body of unknown length: cuts it into frames (chunks of HTTP/1.1, RFC 9112 §7.1) of exactly
 * `frameBytes`, or of what there is when flushed. A frame's size goes ahead of its bytes, so a frame
 * is opened only when all its bytes are held.
 */
export class FrameCutter implements Cutter {
  readonly #queue = new ByteQueue();
  readonly #frameBytes: number;
  /** Bytes of the open frame not yet taken. */
  #frameLeftBytes = 0;
  /** Bytes of all frames opened so far. */
  #framedBytes = 0;

  /** @param frameBytes the largest frame, at least 1. */
  constructor(frameBytes: number) {
    this.#frameBytes = frameBytes;
  }

  get heldBytes(): number {
    return this.#queue.heldBytes;
  }

  push(piece: Buffer): void {
    this.#queue.push(piece);
  }

  take(allowedBytes: number, flush: boolean): Write | null {
    const parts: (Buffer | string)[] = [];
    if (this.#frameLeftBytes === 0) {
      const frameBytes = Math.min(this.#queue.heldBytes, this.#frameBytes);
      if (frameBytes === 0 || (frameBytes < this.#frameBytes && !flush)) return null;
      if (this.#framedBytes + frameBytes > allowedBytes) return null;
      this.#frameLeftBytes = frameBytes;
      this.#framedBytes += frameBytes;
      parts.push(`${frameBytes.toString(16)}\r\n`);
    }
    const bodyBytes = Math.min(blockBytes, this.#frameLeftBytes);
    this.#frameLeftBytes -= bodyBytes;
    parts.push(...this.#queue.shift(bodyBytes));
    if (this.#frameLeftBytes === 0) parts.push('\r\n');
    return { parts, bodyBytes };
  }

  end(): Write | null {
    return { parts: ['0\r\n\r\n'], bodyBytes: 0 };
  }
}
