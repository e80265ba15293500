import { KiB } from './units.ts';

/** Also the largest single write to an upstream: between two writes its early answer can be noticed (design §8). */
export const blockBytes = 64 * KiB;
const smallestBlockBytes = 4 * KiB;

/** A piece of this size or more is worth keeping as it came; a smaller one is copied. */
export const smallestKeptBytes = 16 * KiB;

/** All memory that the queue holds on to, for each byte that it holds. */
const mostMemoryPerByte = 1.25;

interface Block {
  readonly bytes: Buffer;
  start: number;
  end: number;
}

/**
 * Bytes first in, first out. A large piece is kept as it came: the giver may not write to it again. Whatever else comes in is
 * copied: a piece of one byte would otherwise pin the whole 64 KiB read that it was cut from, and a client that sends 1-byte
 * chunks would cost sixty times its bytes. Large pieces are copied too where what they pin is too much.
 */
export class ByteQueue {
  readonly #blocks: Block[] = [];
  #heldBytes = 0;
  /** Of all memory that the blocks are in. */
  #memoryBytes = 0;
  #nextBlockBytes = smallestBlockBytes;

  get heldBytes(): number {
    return this.#heldBytes;
  }

  push(piece: Buffer): void {
    this.#heldBytes += piece.length;
    if (this.#keeps(piece)) return;
    let offset = 0;
    while (offset < piece.length) {
      const tail = this.#tailFor(piece.length - offset);
      const count = Math.min(piece.length - offset, tail.bytes.length - tail.end);
      piece.copy(tail.bytes, tail.end, offset, offset + count);
      tail.end += count;
      offset += count;
    }
  }

  /** The next bytes, in their pieces: `mostBytes`, or all that is held where that is less. The caller owns them. */
  shift(mostBytes: number): Buffer[] {
    const taken: Buffer[] = [];
    let leftBytes = mostBytes;
    for (let head = this.#blocks[0]; head !== undefined && leftBytes > 0; head = this.#blocks[0]) {
      const count = Math.min(leftBytes, head.end - head.start);
      taken.push(head.bytes.subarray(head.start, head.start + count));
      head.start += count;
      leftBytes -= count;
      this.#heldBytes -= count;
      if (head.start < head.end) break;
      // a block whose bytes have all left is not written to again: somebody else owns what was in it
      this.#blocks.shift();
      if (this.#blocks[0]?.bytes.buffer !== head.bytes.buffer)
        this.#memoryBytes -= head.bytes.buffer.byteLength;
    }
    if (this.#blocks.length === 0) this.#nextBlockBytes = smallestBlockBytes;
    return taken;
  }

  /** Keeps the piece itself, if that may be; `#heldBytes` counts it already. */
  #keeps(piece: Buffer): boolean {
    if (piece.length < smallestKeptBytes) return false;
    // what follows in the same read pins nothing more
    const pinnedBytes = this.#blocks.at(-1)?.bytes.buffer === piece.buffer ? 0 : piece.buffer.byteLength;
    if (this.#memoryBytes + pinnedBytes > this.#heldBytes * mostMemoryPerByte + blockBytes) return false;
    this.#memoryBytes += pinnedBytes;
    this.#blocks.push({ bytes: piece, start: 0, end: piece.length });
    this.#nextBlockBytes = smallestBlockBytes;
    return true;
  }

  /** A trickle gets small blocks, so that a thousand slow uploads do not hold 64 KiB each. */
  #tailFor(neededBytes: number): Block {
    const tail = this.#blocks.at(-1);
    if (tail !== undefined && tail.end < tail.bytes.length) return tail;
    let bytes = this.#nextBlockBytes;
    while (bytes < Math.min(neededBytes, blockBytes)) bytes *= 2;
    this.#nextBlockBytes = Math.min(2 * bytes, blockBytes);
    const block = { bytes: Buffer.allocUnsafeSlow(bytes), start: 0, end: 0 };
    this.#memoryBytes += bytes;
    this.#blocks.push(block);
    return block;
  }
}
