import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ByteQueue, blockBytes, smallestKeptBytes } from '../../src/core/byte-queue.ts';

/** `count` bytes that tell where they stood. */
const pattern = (count: number, first = 0): Buffer =>
  Buffer.from(Array.from({ length: count }, (_, i) => (first + i) % 251));

function drained(queue: ByteQueue): Buffer {
  const pieces: Buffer[] = [];
  while (queue.heldBytes > 0) pieces.push(...queue.shift(blockBytes));
  return Buffer.concat(pieces);
}

describe('a byte queue', () => {
  it('has nothing to give when it holds nothing', () => {
    const queue = new ByteQueue();
    assert.equal(queue.heldBytes, 0);
    assert.deepEqual(queue.shift(1), []);
    queue.push(Buffer.alloc(0));
    assert.deepEqual(queue.shift(1), []);
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
    assert.deepEqual(queue.shift(3), [pattern(3)]);
    assert.deepEqual(queue.shift(7), [pattern(7, 3)]);
    assert.deepEqual(queue.shift(1), []);
  });

  it('gives as much as was asked for, in as many pieces as it takes', () => {
    const queue = new ByteQueue();
    queue.push(pattern(smallestKeptBytes));
    queue.push(pattern(10, smallestKeptBytes));
    assert.equal(queue.shift(smallestKeptBytes + 9).length, 2);
    assert.deepEqual(queue.shift(1), [pattern(1, smallestKeptBytes + 9)]);
  });

  for (const [count, kept] of [
    [smallestKeptBytes - 1, false],
    [smallestKeptBytes, true],
    [smallestKeptBytes + 1, true],
  ] as const) {
    it(`${kept ? 'keeps' : 'copies'} a piece of ${count} bytes that has its memory to itself`, () => {
      const queue = new ByteQueue();
      const given = pattern(count);
      queue.push(given);
      assert.equal(queue.shift(1)[0]?.buffer === given.buffer, kept);
    });
  }

  for (const [what, partsOfRead, kept] of [
    ['keeps pieces that share a read', 3, 12],
    ['copies pieces that would pin much more than they are', 1, 1],
  ] as const) {
    it(what, () => {
      const queue = new ByteQueue();
      const reads = Array.from({ length: 4 }, () => Buffer.alloc(blockBytes));
      const partBytes = Math.floor(blockBytes / 3);
      for (const read of reads) {
        for (let part = 0; part < partsOfRead; part += 1) {
          queue.push(read.subarray(part * partBytes, (part + 1) * partBytes));
        }
      }
      const keptPieces = queue
        .shift(queue.heldBytes)
        .filter(({ buffer }) => reads.some((read) => read.buffer === buffer));
      assert.equal(keptPieces.length, kept);
    });
  }

  it('never writes over what it gave away', () => {
    const queue = new ByteQueue();
    queue.push(pattern(10));
    const taken = queue.shift(10);
    queue.push(Buffer.alloc(8192, 0xff));
    assert.deepEqual(taken, [pattern(10)]);
  });

  it('holds a trickle in a small block', () => {
    const queue = new ByteQueue();
    queue.push(pattern(1));
    assert.equal(queue.shift(1)[0]?.buffer.byteLength, 4096);
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
        const shift = (mostBytes: number): void => {
          const bytes = Buffer.concat(queue.shift(mostBytes));
          assert.equal(bytes.length, Math.min(mostBytes, pushed - shifted));
          assert.equal(bytes.equals(pattern(bytes.length, shifted)), true, `other bytes from ${shifted} on`);
          shifted += bytes.length;
        };
        for (const move of taken) {
          if ('push' in move) {
            queue.push(pattern(move.push, pushed));
            pushed += move.push;
          } else shift(move.shift);
          assert.equal(queue.heldBytes, pushed - shifted);
        }
        shift(pushed);
        assert.equal(shifted, pushed);
      }),
      { numRuns: 100 },
    );
  });

  it('keeps a copy of what is small and never writes over what it gave, however much comes after', () => {
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
          given.push(...queue.shift(shift));
        }
        given.push(drained(queue));
        assert.equal(Buffer.concat(given).equals(pattern(pushed)), true, 'other bytes came out');
      }),
      { numRuns: 100 },
    );
  });

  it('holds little more than its bytes: a quarter more, and a block or two', () => {
    // what comes in are parts of reads of 64 KiB, as a parser cuts them
    const reads = fc.array(fc.array(fc.oneof(fc.nat({ max: 10 }), fc.nat({ max: 70_000 }))), {
      maxLength: 20,
    });
    fc.assert(
      fc.property(reads, (read) => {
        const queue = new ByteQueue();
        for (const sizes of read) {
          const bytes = Buffer.alloc(blockBytes);
          let at = 0;
          for (const size of sizes) {
            queue.push(bytes.subarray(at, at + size));
            at += size + 1;
          }
        }
        const { heldBytes } = queue;
        const memories = new Map<ArrayBufferLike, number>();
        for (const { buffer } of queue.shift(heldBytes)) memories.set(buffer, buffer.byteLength);
        const memoryBytes = [...memories.values()].reduce((sum, bytes) => sum + bytes, 0);
        const most = heldBytes * 1.25 + 2 * blockBytes;
        assert.equal(memoryBytes <= most, true, `${memoryBytes} bytes of memory for ${heldBytes}`);
      }),
      { numRuns: 300 },
    );
  });
});
