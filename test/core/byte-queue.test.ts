import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ByteQueue, blockBytes } from '../../src/core/byte-queue.ts';

/** `count` bytes that tell where they stood. */
const pattern = (count: number, first = 0): Buffer =>
  Buffer.from(Array.from({ length: count }, (_, i) => (first + i) % 251));

function drained(queue: ByteQueue): Buffer {
  const pieces: Buffer[] = [];
  for (let piece = queue.shift(blockBytes); piece !== null; piece = queue.shift(blockBytes))
    pieces.push(piece);
  return Buffer.concat(pieces);
}

describe('a byte queue', () => {
  it('has nothing to give when it holds nothing', () => {
    const queue = new ByteQueue();
    assert.equal(queue.heldBytes, 0);
    assert.equal(queue.shift(1), null);
    queue.push(new Uint8Array(0));
    assert.equal(queue.shift(1), null);
  });

  for (const count of [1, 4095, 4096, 4097, blockBytes - 1, blockBytes, blockBytes + 1, 3 * blockBytes]) {
    it(`gives ${count} bytes back as they came`, () => {
      const queue = new ByteQueue();
      queue.push(pattern(count));
      assert.equal(queue.heldBytes, count);
      assert.deepEqual(drained(queue), pattern(count));
      assert.equal(queue.heldBytes, 0);
    });
  }

  it('gives no more than was asked for', () => {
    const queue = new ByteQueue();
    queue.push(pattern(10));
    assert.deepEqual(queue.shift(3), pattern(3));
    assert.deepEqual(queue.shift(7), pattern(7, 3));
    assert.equal(queue.shift(1), null);
  });

  it('copies what comes in: the giver may write over its own', () => {
    const queue = new ByteQueue();
    const given = pattern(10);
    queue.push(given);
    given.fill(0xff);
    assert.deepEqual(drained(queue), pattern(10));
  });

  it('never writes over what it gave away', () => {
    const queue = new ByteQueue();
    queue.push(pattern(10));
    const taken = queue.shift(10);
    queue.push(Buffer.alloc(8192, 0xff));
    assert.deepEqual(taken, pattern(10));
  });

  it('holds a trickle in a small block', () => {
    const queue = new ByteQueue();
    queue.push(pattern(1));
    assert.equal(queue.shift(1)?.buffer.byteLength, 4096);
  });

  it('gives the bytes in their order, however they come and go', () => {
    const moves = fc.array(
      fc.oneof(
        fc.record({ push: fc.oneof(fc.nat({ max: 10 }), fc.nat({ max: 70_000 })) }),
        fc.record({ shift: fc.integer({ min: 1, max: 70_000 }) }),
      ),
      { maxLength: 20 },
    );
    fc.assert(
      fc.property(moves, (taken) => {
        const queue = new ByteQueue();
        let pushed = 0;
        let shifted = 0;
        const check = (piece: Buffer, mostBytes: number): void => {
          assert.equal(
            piece.length >= 1 && piece.length <= mostBytes,
            true,
            `${piece.length} of ${mostBytes}`,
          );
          assert.equal(piece.equals(pattern(piece.length, shifted)), true, `other bytes from ${shifted} on`);
          shifted += piece.length;
        };
        for (const move of taken) {
          if ('push' in move) {
            queue.push(pattern(move.push, pushed));
            pushed += move.push;
          } else {
            const piece = queue.shift(move.shift);
            assert.equal(
              piece === null,
              pushed === shifted,
              'null where bytes are held, or bytes where none are',
            );
            if (piece !== null) check(piece, move.shift);
          }
          assert.equal(queue.heldBytes, pushed - shifted);
        }
        for (let piece = queue.shift(1000); piece !== null; piece = queue.shift(1000)) check(piece, 1000);
        assert.equal(shifted, pushed);
      }),
      { numRuns: 100 },
    );
  });

  it('keeps a copy of what it took and never writes over what it gave, however much comes after', () => {
    const moves = fc.array(fc.record({ push: fc.nat({ max: 9000 }), shift: fc.nat({ max: 9000 }) }), {
      maxLength: 20,
    });
    fc.assert(
      fc.property(moves, (taken) => {
        const queue = new ByteQueue();
        const given: Buffer[] = [];
        let pushed = 0;
        for (const { push, shift } of taken) {
          const piece = pattern(push, pushed);
          queue.push(piece);
          piece.fill(0xff);
          pushed += push;
          const bytes = queue.shift(Math.max(1, shift));
          if (bytes !== null) given.push(bytes);
        }
        given.push(drained(queue));
        assert.equal(Buffer.concat(given).equals(pattern(pushed)), true, 'other bytes came out');
      }),
      { numRuns: 100 },
    );
  });

  it('holds little more than its bytes: a block for each that is full, and one at each end', () => {
    const pieces = fc.array(fc.oneof(fc.nat({ max: 10 }), fc.nat({ max: 70_000 })), { maxLength: 20 });
    fc.assert(
      fc.property(pieces, (sizes) => {
        const queue = new ByteQueue();
        for (const size of sizes) queue.push(pattern(size));
        const { heldBytes } = queue;
        const blocks = new Map<ArrayBufferLike, number>();
        for (let piece = queue.shift(blockBytes); piece !== null; piece = queue.shift(blockBytes)) {
          blocks.set(piece.buffer, piece.buffer.byteLength);
        }
        const blockedBytes = [...blocks.values()].reduce((sum, bytes) => sum + bytes, 0);
        const most = heldBytes + 2 * blockBytes;
        assert.equal(blockedBytes < most, true, `${blockedBytes} bytes of blocks for ${heldBytes}`);
      }),
      { numRuns: 100 },
    );
  });
});
