import { KiB } from './units.ts';

/** Also the largest single write to an upstream: between two writes its early answer can be noticed (design §8). */
export const blockBytes = 64 * KiB;
const smallestBlockBytes = 4 * KiB;

/**
 * Bytes first in, first out. What comes in is copied: a piece of one byte would otherwise pin the whole
 * 64 KiB read that it was cut from, and a client that sends 1-byte chunks would cost sixty times its bytes.
 */
export class ByteQueue {
  readonly #blocks: { bytes: Buffer; start: number; end: number }[] = [];
  #heldBytes = 0;

  get heldBytes(): number {
    return this.#heldBytes;
  }

  push(piece: Uint8Array): void {
    this.#heldBytes += piece.length;
    let offset = 0;
    while (offset < piece.length) {
      let tail = this.#blocks.at(-1);
      if (tail === undefined || tail.end === tail.bytes.length) {
        tail = {
          bytes: Buffer.allocUnsafeSlow(this.#nextBlockBytes(piece.length - offset)),
          start: 0,
          end: 0,
        };
        this.#blocks.push(tail);
      }
      const count = Math.min(piece.length - offset, tail.bytes.length - tail.end);
      tail.bytes.set(piece.subarray(offset, offset + count), tail.end);
      tail.end += count;
      offset += count;
    }
  }

  /** The next bytes: at least one and at most `mostBytes`, or null when nothing is held. The caller owns them. */
  shift(mostBytes: number): Buffer | null {
    const head = this.#blocks[0];
    if (head === undefined) return null;
    const count = Math.min(mostBytes, head.end - head.start);
    const taken = head.bytes.subarray(head.start, head.start + count);
    head.start += count;
    this.#heldBytes -= count;
    // a block whose bytes have all left is not written to again: somebody else owns what was in it
    if (head.start === head.end) this.#blocks.shift();
    return taken;
  }

  /** A trickle gets small blocks, so that a thousand slow uploads do not hold 64 KiB each. */
  #nextBlockBytes(neededBytes: number): number {
    if (this.#blocks.length > 0 || neededBytes >= blockBytes) return blockBytes;
    let size = smallestBlockBytes;
    while (size < neededBytes) size *= 2;
    return size;
  }
}
