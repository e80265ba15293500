import assert from 'node:assert/strict';
import fc from 'fast-check';
import { blockBytes, smallestKeptBytes } from '../../src/core/byte-queue.ts';
import { type Cutter, FrameCutter, LengthCutter, type Write } from '../../src/core/cutter.ts';

const pattern = (count: number, first = 0): Buffer =>
  Buffer.from(Array.from({ length: count }, (_, i) => (first + i) % 251));

const wire = ({ parts }: Write): Buffer => Buffer.concat(parts.map((part) => Buffer.from(part)));

function everything(cutter: Cutter, allowedBytes: number, flush: boolean): Write[] {
  const writes: Write[] = [];
  for (
    let write = cutter.take(allowedBytes, flush);
    write !== null;
    write = cutter.take(allowedBytes, flush)
  ) {
    writes.push(write);
  }
  return writes;
}

/** The frames on the wire, read strictly as RFC 9112 §7.1 has them; fails for anything else. */
function framesOf(bytes: Buffer): { frames: Buffer[]; rest: Buffer; ended: boolean } {
  const frames: Buffer[] = [];
  let at = 0;
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd === -1) return { frames, rest: bytes.subarray(at), ended: false };
    const size = bytes.toString('latin1', at, lineEnd);
    assert.match(size, /^(0|[1-9a-f][0-9a-f]*)$/);
    const count = Number.parseInt(size, 16);
    const start = lineEnd + 2;
    if (bytes.length < start + count + 2) return { frames, rest: bytes.subarray(at), ended: false };
    assert.equal(bytes.toString('latin1', start + count, start + count + 2), '\r\n');
    at = start + count + 2;
    if (count === 0) return { frames, rest: bytes.subarray(at), ended: true };
    frames.push(bytes.subarray(start, start + count));
  }
}

const cuts = fc.array(fc.oneof(fc.nat({ max: 40 }), fc.nat({ max: 150_000 })), { maxLength: 8 });
/** How much more is allowed after each cut, and whether it is flushed. */
const turns = fc.array(fc.record({ moreBytes: fc.nat({ max: 150_000 }), flush: fc.boolean() }), {
  maxLength: 8,
});

describe('the cutter of a body of known length', () => {
  it('holds nothing back and frames nothing', () => {
    const cutter = new LengthCutter();
    cutter.push(pattern(3));
    const write = cutter.take(100);
    assert.deepEqual(write?.parts, [pattern(3)]);
    assert.equal(write?.bodyBytes, 3);
    assert.equal(cutter.take(100), null);
    assert.equal(cutter.end(), null);
  });

  for (const [count, sizes] of [
    [blockBytes - 1, [blockBytes - 1]],
    [blockBytes, [blockBytes]],
    [blockBytes + 1, [blockBytes, 1]],
  ] as const) {
    it(`writes ${count} bytes as ${sizes.join(' and ')}`, () => {
      const cutter = new LengthCutter();
      cutter.push(pattern(count));
      const writes = everything(cutter, count, false);
      assert.deepEqual(
        writes.map(({ bodyBytes }) => bodyBytes),
        sizes,
      );
    });
  }

  it('passes 99 and 100 of 100 allowed bytes on, and keeps the 101st', () => {
    const cutter = new LengthCutter();
    cutter.push(pattern(99));
    assert.equal(cutter.take(100)?.bodyBytes, 99);
    cutter.push(pattern(2));
    assert.equal(cutter.take(100)?.bodyBytes, 1);
    assert.equal(cutter.take(100), null);
    assert.equal(cutter.heldBytes, 1);
    assert.equal(cutter.take(101)?.bodyBytes, 1);
  });

  it('gives out the bytes that came in, in writes of at most a block, never beyond what is allowed', () => {
    fc.assert(
      fc.property(cuts, turns, (sizes, allowances) => {
        const cutter = new LengthCutter();
        const out: Buffer[] = [];
        let pushed = 0;
        let taken = 0;
        let allowed = 0;
        const takeAll = (): void => {
          for (const write of everything(cutter, allowed, false)) {
            assert.equal(write.bodyBytes <= blockBytes, true, `a write of ${write.bodyBytes} bytes`);
            assert.equal(wire(write).length, write.bodyBytes);
            taken += write.bodyBytes;
            out.push(wire(write));
          }
          assert.equal(taken, Math.min(allowed, pushed), 'taken of what is there and allowed');
          assert.equal(cutter.heldBytes, pushed - taken);
        };
        sizes.forEach((size, turn) => {
          cutter.push(pattern(size, pushed));
          pushed += size;
          allowed += allowances[turn]?.moreBytes ?? 0;
          takeAll();
        });
        allowed = Math.max(allowed, pushed);
        takeAll();
        assert.equal(Buffer.concat(out).equals(pattern(pushed)), true, 'other bytes came out');
      }),
      { numRuns: 60 },
    );
  });
});

describe('the cutter of a body of unknown length', () => {
  it('opens a frame only when all its bytes are held', () => {
    const cutter = new FrameCutter(4);
    cutter.push(pattern(3));
    assert.equal(cutter.take(100, false), null);
    cutter.push(pattern(1, 3));
    const write = cutter.take(100, false);
    assert.deepEqual(write?.parts, ['4\r\n', pattern(4), '\r\n']);
    assert.equal(write?.bodyBytes, 4);
  });

  it('sends what there is when flushed, and nothing when there is nothing', () => {
    const cutter = new FrameCutter(4);
    assert.equal(cutter.take(100, true), null);
    cutter.push(pattern(3));
    assert.deepEqual(cutter.take(100, true)?.parts, ['3\r\n', pattern(3), '\r\n']);
    assert.equal(cutter.take(100, true), null);
  });

  it('cuts what is longer than a frame', () => {
    const cutter = new FrameCutter(4);
    cutter.push(pattern(5));
    assert.equal(cutter.take(100, true)?.bodyBytes, 4);
    assert.equal(cutter.take(100, true)?.bodyBytes, 1);
  });

  it('writes a frame larger than a block in blocks, with its size ahead and its end behind', () => {
    const frameBytes = 2 * blockBytes + 1;
    const cutter = new FrameCutter(frameBytes);
    cutter.push(pattern(frameBytes));
    const writes = everything(cutter, frameBytes, false);
    assert.deepEqual(
      writes.map(({ bodyBytes }) => bodyBytes),
      [blockBytes, blockBytes, 1],
    );
    assert.deepEqual(
      writes.map(({ parts }) => parts.filter((part) => typeof part === 'string')),
      [['20001\r\n'], [], ['\r\n']],
    );
  });

  for (const [allowedBytes, bodyBytes] of [
    [3, undefined],
    [4, 4],
    [5, 4],
  ] as const) {
    it(`${bodyBytes === undefined ? 'does not open' : 'opens'} a frame of 4 where ${allowedBytes} bytes are allowed`, () => {
      const cutter = new FrameCutter(4);
      cutter.push(pattern(8));
      assert.equal(cutter.take(allowedBytes, true)?.bodyBytes, bodyBytes);
      assert.equal(cutter.take(allowedBytes, true), null);
    });
  }

  it('ends with the frame of no bytes', () => {
    assert.deepEqual(new FrameCutter(4).end(), { parts: ['0\r\n\r\n'], bodyBytes: 0 });
  });

  it('gives out the bytes that came in, in frames of its size, never beyond what is allowed', () => {
    const frameSizes = fc.oneof(fc.integer({ min: 16, max: 100 }), fc.integer({ min: 1000, max: 200_000 }));
    fc.assert(
      fc.property(frameSizes, cuts, turns, (frameBytes, sizes, allowances) => {
        // a frame for every few bytes of a long body only makes the test slow
        const limited = frameBytes < 1000 ? sizes.map((size) => size % 300) : sizes;
        const cutter = new FrameCutter(frameBytes);
        const out: Buffer[] = [];
        let pushed = 0;
        let taken = 0;
        let allowed = 0;
        let flushes = 0;
        const takeAll = (flush: boolean): void => {
          if (flush) flushes += 1;
          for (const write of everything(cutter, allowed, flush)) {
            assert.equal(write.bodyBytes <= blockBytes, true, `a write of ${write.bodyBytes} bytes`);
            taken += write.bodyBytes;
            out.push(wire(write));
          }
          assert.equal(taken <= allowed, true, `${taken} bytes taken of ${allowed} allowed`);
          assert.equal(cutter.heldBytes, pushed - taken);
          assert.equal(framesOf(Buffer.concat(out)).rest.length, 0, 'a frame was left open');
        };
        limited.forEach((size, turn) => {
          cutter.push(pattern(size, pushed));
          pushed += size;
          allowed += allowances[turn]?.moreBytes ?? 0;
          takeAll(allowances[turn]?.flush ?? false);
        });
        allowed = Math.max(allowed, pushed);
        takeAll(false);
        assert.equal(pushed - taken < frameBytes, true, 'a whole frame was held back');
        takeAll(true);
        const end = cutter.end();
        assert.notEqual(end, null, 'a framed body has an end');
        if (end !== null) out.push(wire(end));
        const { frames, rest, ended } = framesOf(Buffer.concat(out));
        assert.equal(ended, true, 'the body has no end');
        assert.equal(rest.length, 0, 'something follows the end');
        assert.equal(Buffer.concat(frames).equals(pattern(pushed)), true, 'other bytes came out');
        for (const frame of frames) {
          assert.equal(
            frame.length <= frameBytes,
            true,
            `a frame of ${frame.length} bytes, ${frameBytes} at most`,
          );
        }
        const partFilled = frames.filter((frame) => frame.length !== frameBytes).length;
        assert.equal(
          partFilled <= flushes,
          true,
          `${partFilled} part-filled frames after ${flushes} flushes`,
        );
      }),
      { numRuns: 60 },
    );
  });
});

const cutters: readonly [what: string, frames: boolean, make: (frameBytes: number) => Cutter][] = [
  ['known', false, () => new LengthCutter()],
  ['unknown', true, (frameBytes) => new FrameCutter(frameBytes)],
];
for (const [what, isFramed, make] of cutters) {
  // as a slow upstream has it: it takes a write or two, more comes in, more is allowed, and a frame is open meanwhile
  it(`a body of ${what} length is the same whenever its bytes come, are allowed, flushed and taken`, () => {
    const moves = fc.array(
      fc.oneof(
        fc.record({ push: fc.oneof(fc.nat({ max: 40 }), fc.nat({ max: 150_000 })) }),
        fc.record({ allow: fc.oneof(fc.nat({ max: 40 }), fc.nat({ max: 150_000 })) }),
        fc.record({ take: fc.integer({ min: 1, max: 3 }), flush: fc.boolean() }),
      ),
      { maxLength: 30 },
    );
    fc.assert(
      fc.property(fc.integer({ min: 1000, max: 200_000 }), moves, (frameBytes, taken) => {
        const cutter = make(frameBytes);
        const out: Buffer[] = [];
        let pushed = 0;
        let allowed = 0;
        let sent = 0;
        const take = (flush: boolean): boolean => {
          const write = cutter.take(allowed, flush);
          if (write === null) return false;
          assert.equal(
            write.bodyBytes >= 1 && write.bodyBytes <= blockBytes,
            true,
            `${write.bodyBytes} bytes`,
          );
          sent += write.bodyBytes;
          assert.equal(sent <= allowed, true, `${sent} bytes taken of ${allowed} allowed`);
          assert.equal(cutter.heldBytes, pushed - sent);
          out.push(wire(write));
          return true;
        };
        for (const move of taken) {
          if ('push' in move) {
            const piece = pattern(move.push, pushed);
            cutter.push(piece);
            // a small piece is copied, a large one is the cutter's
            if (piece.length < smallestKeptBytes) piece.fill(0xff);
            pushed += move.push;
          } else if ('allow' in move) allowed += move.allow;
          else for (let count = 0; count < move.take && take(move.flush); count += 1);
        }
        allowed = Math.max(allowed, pushed);
        while (take(true));
        assert.equal(sent, pushed, 'bytes were kept back');
        const end = cutter.end();
        if (end !== null) out.push(wire(end));
        const all = Buffer.concat(out);
        const { frames, rest, ended } = isFramed ? framesOf(all) : { frames: [all], rest: [], ended: true };
        assert.equal(ended && rest.length === 0, true, 'the body does not end where it should');
        assert.equal(
          !isFramed || frames.every(({ length }) => length <= frameBytes),
          true,
          'a frame is too long',
        );
        assert.equal(Buffer.concat(frames).equals(pattern(pushed)), true, 'other bytes came out');
      }),
      { numRuns: 40 },
    );
  });
}
