import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bound } from '../../src/core/bound.ts';
import { EndGate } from '../../src/core/end-gate.ts';
import { GatewayError } from '../../src/core/errors.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import type { Carried, Lane } from '../../src/lanes/lane.ts';
import { eventually } from '../support/eventually.ts';
import { type Framing, framings, LaneRig, type RigOptions } from '../support/lane-rig.ts';

/** A lane of which the suite of all lanes is asked. */
export interface LaneUnderTest {
  readonly name: string;
  newLane(): Promise<Lane>;
  /** A bound of bytes that may be held, for this lane as well as for who counts in JavaScript. */
  bound(mostBytes: number): Bound;
  /** What is left when no body is under way; nothing, if all is well. */
  left(): unknown;
  stop(): Promise<void>;
}

/** The deadline that is met, and one that is not: no test takes as long. */
const shortMs = 150;
const longMs = 60_000;

/** More than the kernels on both sides hold on loopback. */
const floodBytes = 48 * MiB;

/** Bytes that repeat nowhere near: a piece in the wrong place is another body. */
const noise = Buffer.alloc(4 * MiB + 1);
for (let i = 0, state = 1; i < noise.length; i += 1) {
  state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
  noise[i] = state >>> 16;
}

/** How a client cuts its body into writes, and chunks. */
const cuts: Readonly<Record<string, (left: number, piece: number) => number>> = {
  'all at once': (left) => left,
  '64 KiB': () => 64 * KiB,
  'odd pieces': (_, piece) => 1 + ((piece * 7_919) % 70_001),
};

function* piecesOf(bytes: number, cut: (left: number, piece: number) => number): Generator<Buffer> {
  for (let at = 0, piece = 0; at < bytes; piece += 1) {
    const taken = Math.min(cut(bytes - at, piece), bytes - at);
    yield noise.subarray(at, at + taken);
    at += taken;
  }
}

const chunkOf = (data: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')]);

/** Cuts a wire into parts of 1 to 5,000 bytes. */
function* partsOf(wire: Buffer): Generator<Buffer> {
  for (let at = 0, part = 0; at < wire.length; part += 1) {
    const next = at + 1 + ((part * 1_237) % 5_000);
    yield wire.subarray(at, next);
    at = next;
  }
}

const codeOf = (carried: Carried | GatewayError): string =>
  carried instanceof GatewayError ? carried.code : carried;

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

export function describeLane(lane: LaneUnderTest): void {
  describe(`the ${lane.name} lane`, () => {
    let under: Lane;
    let rig: LaneRig;
    let carried: Promise<Carried | GatewayError>;

    before(async () => {
      under = await lane.newLane();
    });
    afterEach(async () => {
      await rig?.stop();
      await eventually(() => assert.deepEqual(lane.left(), {}), 'nothing is left');
    });
    after(() => lane.stop());

    const begin = async (options: RigOptions): Promise<void> => {
      rig = await LaneRig.begin(under, options);
      carried = rig.carry();
      // whoever waits for it hears of its failure
      carried.catch(() => {});
    };

    const outcome = async (): Promise<string> => codeOf(await carried);

    const received = (bytes: number): Promise<unknown> =>
      eventually(() => assert.equal(rig.sink.bodyBytes, bytes), `${bytes} bytes arrive`);

    /** Nothing more comes, for as long as it takes to hear of it. */
    const stays = async (bytes: number): Promise<void> => {
      await received(bytes);
      await turns();
      await sleep(20);
      assert.equal(rig.sink.bodyBytes, bytes);
      assert.equal(rig.sink.ended, false);
    };

    /** All of it has come in, and what ends it stays here: the last byte of a promised length, or the last frame. */
    const staysHeld = async (framing: Framing, bytes: number): Promise<void> => {
      await eventually(() => assert.equal(rig.progress.receivedBytes, bytes));
      if (framing === 'chunked') return await stays(bytes);
      await turns();
      await sleep(20);
      assert.ok(rig.sink.bodyBytes < bytes, 'not its last byte');
      assert.equal(rig.sink.ended, false);
    };

    const wholeUpstream = async (bytes: number): Promise<void> => {
      assert.equal(await outcome(), 'sent');
      await eventually(() => assert.equal(rig.sink.ended, true), 'the body comes to its end');
      assert.equal(rig.sink.broken, null);
      assert.equal(rig.sink.bodyBytes, bytes);
      assert.equal(rig.progress.receivedBytes, bytes);
      assert.equal(rig.progress.sentBytes, bytes);
      assert.equal(rig.progress.endSent, true);
    };

    /** The client sends until nobody reads: the rest stays with it. */
    const flood = async (framing: Framing): Promise<void> => {
      const piece = Buffer.alloc(64 * KiB, 'x');
      for (let sent = 0; sent < floodBytes; sent += piece.length) void rig.send(piece);
      assert.ok(framing !== 'length' || rig.passage.declaredBytes !== null);
      let before = -1;
      await eventually(() => {
        const now = rig.progress.receivedBytes;
        const still = now === before && now > 0;
        before = now;
        return still && rig.client.bytesWritten < floodBytes;
      }, 'the client is held back');
    };

    describe('carries the bytes as they are', () => {
      for (const framing of framings) {
        for (const bytes of [0, 1, 4 * MiB - 1, 4 * MiB, 4 * MiB + 1]) {
          for (const [name, cut] of Object.entries(cuts)) {
            if (bytes < 2 && name !== 'all at once') continue;
            it(`${bytes} bytes, ${framing}, ${name}, and the connection lives on`, async () => {
              // nothing is not worth handing over, where somebody knows before
              const moved = bytes === 0 && framing !== 'chunked' ? { moved: 'stream' as const } : {};
              await begin({ framing, bytes, ...moved });
              for (const piece of piecesOf(bytes, cut)) void rig.send(piece);
              await rig.finish();
              await wholeUpstream(bytes);
              const expected = createHash('sha256').update(noise.subarray(0, bytes)).digest('hex');
              assert.equal(rig.sink.digest(), expected);
              await rig.asksAgain();
            });
          }
        }

        it(`20,001 bytes, ${framing}, byte by byte, with the next request behind them`, async () => {
          await begin({ framing, bytes: 20_001 });
          const wire = [...piecesOf(20_001, () => 1)].map((piece) =>
            framing === 'length' ? piece : chunkOf(piece),
          );
          const end = framing === 'length' ? '' : '0\r\n\r\n';
          void rig.client.write(Buffer.concat([...wire, Buffer.from(end)]));
          await rig.client.request('GET /next HTTP/1.1', 'Host: images');
          await wholeUpstream(20_001);
          const expected = createHash('sha256').update(noise.subarray(0, 20_001)).digest('hex');
          assert.equal(rig.sink.digest(), expected);
          await rig.asksAgain(true);
        });
      }

      for (const framing of ['chunked', 'declared'] as const) {
        it(`chunks of all sizes with extensions and trailers, ${framing}, cut anywhere, and the next request`, async () => {
          const bytes = 300_000;
          await begin({ framing, bytes });
          const wire: Buffer[] = [];
          let at = 0;
          for (let piece = 0; at < bytes; piece += 1) {
            const data = noise.subarray(at, Math.min(bytes, at + 1 + ((piece * 4_813) % 20_000)));
            const extension = piece % 3 === 0 ? ';name="a \\" b";other=1' : '';
            const zeros = piece % 4 === 0 ? '000' : '';
            wire.push(
              Buffer.from(`${zeros}${data.length.toString(16)}${extension}\r\n`),
              data,
              Buffer.from('\r\n'),
            );
            at += data.length;
          }
          wire.push(
            Buffer.from('0;last\r\nDigest: x\r\nOther: y\r\n\r\nGET /next HTTP/1.1\r\nHost: images\r\n\r\n'),
          );
          for (const part of partsOf(Buffer.concat(wire))) {
            await rig.client.write(part);
            await new Promise((resolve) => setImmediate(resolve));
          }
          await wholeUpstream(bytes);
          assert.equal(
            rig.sink.digest(),
            createHash('sha256').update(noise.subarray(0, bytes)).digest('hex'),
          );
          await rig.asksAgain(true);
        });
      }
    });

    describe('cuts frames', () => {
      const quick = { frameBytes: MiB, chunkBytes: MiB, flushAfterMs: longMs };

      it('that are full while the client is fast', async () => {
        await begin({ framing: 'chunked', bytes: 0, passage: quick });
        for (const piece of piecesOf(4 * MiB + 1, () => 64 * KiB)) void rig.send(piece);
        await rig.finish();
        await wholeUpstream(4 * MiB + 1);
        assert.deepEqual(rig.sink.frames, [MiB, MiB, MiB, MiB, 1]);
      });

      it('as large as a chunk, when they may be', async () => {
        await begin({
          framing: 'chunked',
          bytes: 0,
          passage: { ...quick, frameBytes: 4 * MiB, chunkBytes: 4 * MiB },
        });
        for (const piece of piecesOf(4 * MiB + 1, (_, n) => 1 + ((n * 7_919) % 70_001))) void rig.send(piece);
        await rig.finish();
        await wholeUpstream(4 * MiB + 1);
        assert.deepEqual(rig.sink.frames, [4 * MiB, 1]);
      });

      for (const [frameBytes, bytes, frames] of [
        [1_000, 999, [999]],
        [1_000, 1_000, [1_000]],
        [1_000, 1_001, [1_000, 1]],
        [1_000, 2_500, [1_000, 1_000, 500]],
        [1, 3, [1, 1, 1]],
      ] as const) {
        it(`${frames.join(' + ')} of ${bytes} bytes, at most ${frameBytes} each`, async () => {
          await begin({ framing: 'chunked', bytes: 0, passage: { ...quick, frameBytes } });
          await rig.send(noise.subarray(0, bytes));
          await rig.finish();
          await wholeUpstream(bytes);
          assert.deepEqual(rig.sink.frames, frames);
        });
      }

      it('that are filled over many pieces of a slow client', async () => {
        await begin({ framing: 'chunked', bytes: 0, passage: { ...quick, frameBytes: 1_000 } });
        for (let piece = 0; piece < 15; piece += 1) {
          await rig.send(noise.subarray(0, 100));
          await eventually(() => assert.equal(rig.progress.receivedBytes, (piece + 1) * 100));
        }
        await received(1_000);
        await rig.finish();
        await wholeUpstream(1_500);
        assert.deepEqual(rig.sink.frames, [1_000, 500]);
      });

      it('that wait no longer than flushAfterMs to be filled', async () => {
        await begin({ framing: 'chunked', bytes: 0, passage: { flushAfterMs: 20 } });
        await rig.send('first');
        await received(5);
        await rig.send('second');
        await received(11);
        await rig.finish();
        await wholeUpstream(11);
        assert.deepEqual(rig.sink.frames, [5, 6]);
      });

      it('that wait for more until then', async () => {
        await begin({ framing: 'chunked', bytes: 0, passage: quick });
        await rig.send('first');
        await eventually(() => assert.equal(rig.progress.receivedBytes, 5));
        await stays(0);
        await rig.finish();
        await wholeUpstream(5);
      });

      it('that a client does not fill who has fallen silent: they go long before', async () => {
        // longer than anybody waits here
        await begin({ framing: 'chunked', bytes: 0, passage: { ...quick, flushAfterMs: 10_000 } });
        await rig.send('left');
        await received(4);
        await rig.finish();
        await wholeUpstream(4);
        assert.deepEqual(rig.sink.frames, [4]);
      });

      for (const framing of ['length', 'declared'] as const) {
        it(`none where the length is known: what there is goes on at once (${framing})`, async () => {
          await begin({ framing, bytes: 100, passage: { flushAfterMs: longMs } });
          await rig.send(noise.subarray(0, 40));
          await received(40);
          await rig.send(noise.subarray(40, 100));
          await rig.finish();
          await wholeUpstream(100);
          assert.deepEqual(rig.sink.frames, []);
        });
      }

      it('that are not filled while as much is held as may be', async () => {
        await begin({ framing: 'chunked', bytes: 0, passage: { ...quick, buffered: lane.bound(1) } });
        for (let piece = 1; piece <= 3; piece += 1) {
          await rig.send(noise.subarray(0, 100));
          await received(piece * 100);
        }
        await rig.finish();
        await wholeUpstream(300);
      });
    });

    describe('holds a body to what was promised', () => {
      for (const bytes of [1, 10, 64 * KiB, MiB]) {
        for (const over of [1, 100, MiB]) {
          it(`longer than its ${bytes} bytes by ${over}: never whole upstream`, async () => {
            await begin({ framing: 'declared', bytes });
            void rig.client.write(chunkOf(noise.subarray(0, bytes + over)));
            assert.equal(await outcome(), 'size-mismatch');
            assert.ok(rig.sink.bodyBytes < bytes, 'not its last byte');
            await rig.cutUpstream();
          });
        }

        it(`longer than its ${bytes} bytes by one more chunk: never whole upstream`, async () => {
          await begin({ framing: 'declared', bytes });
          await rig.send(noise.subarray(0, bytes));
          await stays(bytes - 1);
          await rig.send('x');
          assert.equal(await outcome(), 'size-mismatch');
          await rig.cutUpstream();
        });

        it(`as long as its ${bytes} bytes: its last byte waits for the client's last word`, async () => {
          await begin({ framing: 'declared', bytes });
          await rig.send(noise.subarray(0, bytes));
          await stays(bytes - 1);
          await rig.finish();
          await wholeUpstream(bytes);
        });

        it(`shorter than its ${bytes} bytes by one: refused, never whole`, async () => {
          await begin({ framing: 'declared', bytes });
          if (bytes > 1) await rig.send(noise.subarray(0, bytes - 1));
          await rig.finish();
          const error = await carried;
          assert.equal(codeOf(error), 'size-mismatch');
          assert.match(String(error), new RegExp(`ended after ${bytes - 1} of the ${bytes} bytes`));
          await rig.cutUpstream();
        });
      }

      it('nothing was promised, and something comes', async () => {
        await begin({ framing: 'declared', bytes: 0, moved: 'stream' });
        await rig.send('x');
        assert.equal(await outcome(), 'size-mismatch');
        await rig.cutUpstream();
      });
    });

    describe('holds a body to the most that it may have', () => {
      for (const [bytes, expected] of [
        [999, 'sent'],
        [1_000, 'sent'],
        [1_001, 'too-large'],
        [100_000, 'too-large'],
      ] as const) {
        for (const [name, piece] of [
          ['in one chunk', bytes],
          ['in many', 7],
        ] as const) {
          it(`${bytes} of 1000 bytes ${name}: ${expected}`, async () => {
            await begin({ framing: 'chunked', bytes: 0, passage: { maxBytes: 1_000 } });
            for (const data of piecesOf(bytes, () => piece)) void rig.send(data);
            void rig.finish();
            if (expected === 'sent') return await wholeUpstream(bytes);
            const error = await carried;
            assert.ok(error instanceof GatewayError, 'it is refused');
            assert.equal(error.code, 'too-large');
            assert.equal(error.ending, 'too-large');
            assert.deepEqual(error.facts, { limit: 1_000 });
            assert.ok(rig.sink.bodyBytes <= 1_000, 'no byte more');
            await rig.cutUpstream();
          });
        }
      }
    });

    describe('ends a body whose framing is broken, and never cleanly', () => {
      for (const framing of ['chunked', 'declared'] as const) {
        for (const [name, wire] of [
          ['no size', 'x\r\n'],
          ['after data', '5\r\nhello\r\nZZ\r\n'],
          ['data longer than its chunk', '5\r\nhello!\r\n0\r\n\r\n'],
          ['after much data', `${(200 * KiB).toString(16)}\r\n${'d'.repeat(200 * KiB)}0\r\n\r\n`],
          ['LF alone', '5\nhello\r\n0\r\n\r\n'],
          ['in the trailers', '5\r\nhello\r\n0\r\nno trailer\r\n\r\n'],
          ['a length in the trailers', '5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n'],
          ['an extension that is none', '5; x\r\nhello\r\n0\r\n\r\n'],
        ] as const) {
          it(`${name} (${framing})`, async () => {
            await begin({ framing, bytes: 5 + 200 * KiB });
            void rig.client.write(wire);
            const code = await outcome();
            // where Node's parser finds it, the connection is gone before the lane hears of it
            assert.ok(['body-invalid', 'client-gone'].includes(code), code);
            await rig.cutUpstream();
          });
        }
      }
    });

    describe('sends nothing beyond what is allowed', () => {
      it('not a byte before more is allowed, again and again', async () => {
        const asked: ((allowedBytes: number) => void)[] = [];
        const allowMore = () => new Promise<number>((resolve) => asked.push(resolve));
        await begin({ framing: 'chunked', bytes: 0, passage: { allowedBytes: 1_000, allowMore } });
        void rig.send(noise.subarray(0, 300 * KiB));
        void rig.finish();
        let allowedBytes = 1_000;
        for (const [index, more] of [1_001, 5_000, 70_000, 200 * KiB, 300 * KiB].entries()) {
          await eventually(() => assert.equal(asked.length, index + 1), 'more is asked for');
          await turns();
          await sleep(20);
          assert.ok(rig.sink.bodyBytes <= allowedBytes, `${rig.sink.bodyBytes} of ${allowedBytes} bytes`);
          assert.ok(rig.progress.sentBytes <= allowedBytes, 'nor into the socket');
          assert.equal(rig.sink.ended, false);
          asked.at(-1)?.(more);
          allowedBytes = more;
        }
        await wholeUpstream(300 * KiB);
        assert.equal(asked.length, 5, 'nobody is asked without need');
      });

      it('nothing is asked for while no byte is there', async () => {
        let asked = 0;
        const allowMore = async () => {
          asked += 1;
          return 11;
        };
        await begin({ framing: 'chunked', bytes: 0, passage: { allowedBytes: 10, allowMore } });
        await rig.send('ten bytes!');
        await stays(10);
        assert.equal(asked, 0);
        await rig.send('!');
        await rig.finish();
        await wholeUpstream(11);
        assert.equal(asked, 1);
      });

      it('the body ends when more is refused', async () => {
        const allowMore = () =>
          Promise.reject(new GatewayError('quota-exceeded', 'x', { ending: 'quota-exceeded' }));
        await begin({ framing: 'chunked', bytes: 0, passage: { allowedBytes: 1_000, allowMore } });
        await rig.send(noise.subarray(0, 1_001));
        assert.equal(await outcome(), 'quota-exceeded');
        assert.ok(rig.sink.bodyBytes <= 1_000, 'no byte more');
        await rig.cutUpstream();
      });
    });

    describe('ends in the middle', () => {
      for (const framing of framings) {
        const start = async (changes: RigOptions['passage'] = {}): Promise<void> => {
          await begin({ framing, bytes: MiB, passage: { flushAfterMs: 0, ...changes } });
          await rig.send(noise.subarray(0, 100_000));
          await received(100_000);
        };
        /** The rest of the body, which nobody wants any more. */
        const rest = (): void => {
          void rig.send(noise.subarray(100_000, MiB));
          void rig.finish();
        };

        it(`by its signal; the client is answered and its connection lives on (${framing})`, async () => {
          const stop = new AbortController();
          await start({ signal: stop.signal });
          stop.abort(new GatewayError('cancelled', 'x', { ending: 'cancelled' }));
          assert.equal(await outcome(), 'cancelled');
          await rig.cutUpstream();
          rest();
          await rig.asksAgain();
        });

        it(`by a signal that came before it began (${framing})`, async () => {
          const signal = AbortSignal.abort(new GatewayError('cancelled', 'x', { ending: 'cancelled' }));
          await begin({ framing, bytes: MiB, passage: { signal }, moved: 'stream' });
          assert.equal(await outcome(), 'cancelled');
          await rig.cutUpstream();
        });

        for (const many of [false, true]) {
          it(`by an early answer, which is read${many ? ' while the client is held back' : ''} (${framing})`, async () => {
            if (many) {
              await begin({ framing, bytes: floodBytes, reads: false });
              void flood(framing);
              await eventually(() => rig.progress.receivedBytes > 0);
            } else await start();
            rig.sink.answer('413 Too Large');
            assert.equal(await outcome(), 'interrupted');
            const { status } = await rig.leg.answer(0, new AbortController().signal);
            assert.equal(status, 413);
            if (!many) {
              await rig.cutUpstream();
              rest();
              await rig.asksAgain();
            }
          });
        }

        for (const how of ['FIN', 'RST'] as const) {
          it(`with a client that is gone by ${how}, read from (${framing})`, async () => {
            await start();
            if (how === 'FIN') rig.client.end();
            else rig.client.reset();
            assert.equal(await outcome(), 'client-gone');
            await rig.cutUpstream();
            assert.ok(rig.sink.bodyBytes <= 100_000, 'no byte that was not sent');
          });

          it(`with a client that is gone by ${how}, before its first byte (${framing})`, async () => {
            await begin({ framing, bytes: MiB });
            if (how === 'FIN') rig.client.end();
            else rig.client.reset();
            assert.equal(await outcome(), 'client-gone');
            await rig.cutUpstream();
          });

          it(`with a client that is gone by ${how} while the upstream did not read (${framing})`, async () => {
            await begin({ framing, bytes: floodBytes + 1, reads: false, hashes: false });
            await flood(framing);
            if (how === 'FIN') rig.client.end();
            else rig.client.reset();
            rig.sink.read();
            assert.equal(await outcome(), 'client-gone');
            await rig.cutUpstream();
          });

          it(`with an upstream that is gone by ${how} (${framing})`, async () => {
            await start();
            if (how === 'FIN') rig.sink.end();
            else rig.sink.reset();
            assert.equal(await outcome(), 'interrupted');
            assert.equal(rig.progress.endSent, false);
            await rig.leg.reset();
            rest();
            await rig.asksAgain();
          });

          it(`with an upstream that is gone by ${how} without having read (${framing})`, async () => {
            await begin({ framing, bytes: floodBytes, reads: false });
            await flood(framing);
            if (how === 'FIN') rig.sink.end();
            else rig.sink.reset();
            // nobody looks at a socket that is not read
            rig.sink.read();
            assert.equal(await outcome(), 'interrupted');
            assert.equal(rig.progress.endSent, false);
          });
        }
      }

      for (const [framing, dataBytes, wire, rest] of [
        ['chunked', 0, '5;a="b', 'c"\r\n01234\r\n0\r\n\r\n'],
        ['chunked', 5, '5\r\n01234\r\n000', '5;x\r\n01234\r\n0\r\n\r\n'],
        ['chunked', 2, '5\r\n01', '234\r\n0\r\n\r\n'],
        ['chunked', 5, '5\r\n01234', '\r\n0\r\n\r\n'],
        ['chunked', 5, '5\r\n01234\r', '\n0\r\n\r\n'],
        ['chunked', 5, '5\r\n01234\r\n', '0\r\n\r\n'],
        ['chunked', 5, '5\r\n01234\r\n0\r\nDig', 'est: x\r\n\r\n'],
        ['declared', 5, '5\r\n01234\r\n0\r\nDigest: x\r', '\n\r\n'],
        ['declared', 1, '5\r\n0', '1234\r\n0\r\n\r\n'],
      ] as const) {
        it(`after ${JSON.stringify(wire)}, and the rest is read for what it is (${framing})`, async () => {
          const stop = new AbortController();
          await begin({ framing, bytes: 5, passage: { signal: stop.signal, flushAfterMs: 0 } });
          await rig.client.write(wire);
          await eventually(() => assert.equal(rig.progress.receivedBytes, dataBytes));
          await sleep(10);
          stop.abort(new GatewayError('cancelled', 'x', { ending: 'cancelled' }));
          assert.equal(await outcome(), 'cancelled');
          await rig.cutUpstream();
          void rig.client.write(rest);
          await rig.asksAgain();
        });
      }
    });

    describe('takes over what Node has read with the head', () => {
      const wire = '2;n="v"\r\nab\r\n003\r\ncde\r\n0\r\nT: x\r\n\r\n';
      for (let first = 0; first < wire.length - 1; first += 1) {
        const begun = wire.slice(0, first);
        it(`up to ${JSON.stringify(begun)}`, async () => {
          // in the middle of framing Node's parser cannot be brought to its next data
          const data = wire.indexOf('ab');
          const inside = [
            [data, data + 2],
            [data + 4, data + 4],
            [data + 9, data + 12],
            [data + 14, data + 14],
            [0, 0],
          ];
          const leaves = inside.some(([from = 0, to = 0]) => first >= from && first <= to);
          await begin({ framing: 'chunked', bytes: 0, first: begun, ...(leaves ? {} : { moved: 'stream' }) });
          await rig.client.write(`${wire.slice(first)}GET /next HTTP/1.1\r\nHost: images\r\n\r\n`);
          await wholeUpstream(5);
          assert.equal(rig.sink.digest(), createHash('sha256').update('abcde').digest('hex'));
          await rig.asksAgain(true);
        });
      }

      for (const first of [1, 50_000, 99_999]) {
        it(`${first} of 100,000 bytes of known length`, async () => {
          await begin({ framing: 'length', bytes: 100_000, first: noise.subarray(0, first) });
          await rig.send(noise.subarray(first, 100_000));
          await wholeUpstream(100_000);
          assert.equal(
            rig.sink.digest(),
            createHash('sha256').update(noise.subarray(0, 100_000)).digest('hex'),
          );
          await rig.asksAgain();
        });
      }

      it('or all of it, which is then not handed over', async () => {
        await begin({ framing: 'length', bytes: 1_000, first: noise.subarray(0, 1_000), moved: 'stream' });
        await wholeUpstream(1_000);
        await rig.asksAgain();
      });
    });

    describe('holds little of a body', () => {
      for (const framing of framings) {
        it(`while the upstream does not read: a chunk and a quarter at most (${framing})`, async () => {
          const passage = { frameBytes: 4 * MiB, chunkBytes: 4 * MiB, flushAfterMs: longMs };
          await begin({ framing, bytes: floodBytes, reads: false, hashes: false, passage });
          const held: number[] = [];
          const watch = setInterval(() => {
            held.push(rig.progress.receivedBytes - rig.progress.sentBytes);
          }, 1);
          try {
            await flood(framing);
          } finally {
            clearInterval(watch);
          }
          assert.ok(Math.max(...held) <= 5 * MiB, `${Math.max(...held)} bytes were held`);
          rig.sink.read();
          await rig.finish();
          await wholeUpstream(floodBytes);
        });
      }
    });

    describe('waits for the end to be let go', () => {
      for (const framing of framings) {
        for (const bytes of [1, 64 * KiB, MiB, MiB + 1]) {
          it(`${bytes} bytes, whole only then (${framing})`, async () => {
            const end = new EndGate();
            assert.equal(end.hold(), true);
            await begin({ framing, bytes, passage: { end } });
            await rig.send(noise.subarray(0, bytes));
            await rig.finish();
            await staysHeld(framing, bytes);
            end.release();
            await wholeUpstream(bytes);
            assert.equal(end.hold(), false, 'its end is claimed');
            await rig.asksAgain();
          });
        }

        it(`unless it is cancelled meanwhile: never whole, nor afterwards (${framing})`, async () => {
          const end = new EndGate();
          assert.equal(end.hold(), true);
          const stop = new AbortController();
          await begin({ framing, bytes: 100, passage: { end, signal: stop.signal } });
          await rig.send(noise.subarray(0, 100));
          await rig.finish();
          await staysHeld(framing, 100);
          stop.abort(new GatewayError('image-deleted', 'x', { ending: 'image-deleted' }));
          assert.equal(await outcome(), 'image-deleted');
          end.release();
          await turns();
          await rig.cutUpstream();
        });

        it(`and is nobody's fault for that time (${framing})`, async () => {
          const end = new EndGate();
          assert.equal(end.hold(), true);
          const passage = {
            end,
            clientSocketTimeoutMs: shortMs,
            leastRate: { bytes: 1, perMs: shortMs, graceMs: 0 },
            chunkTimeoutMs: shortMs,
            timeLimit: { baseMs: 5 * shortMs, perGibMs: 0 },
          };
          await begin({ framing, bytes: 100, passage });
          await rig.send(noise.subarray(0, 100));
          await rig.finish();
          await sleep(6 * shortMs);
          await staysHeld(framing, 100);
          end.release();
          await wholeUpstream(100);
        });
      }
    });

    describe('tells whose fault a silence is', () => {
      const strictClient = {
        clientSocketTimeoutMs: 2 * shortMs,
        leastRate: { bytes: 1, perMs: 2 * shortMs, graceMs: 0 },
      };
      for (const framing of framings) {
        const bytes = floodBytes + 100_000;
        const half = noise.subarray(0, 100_000);

        it(`the client's, who sends nothing at all (${framing})`, async () => {
          await begin({
            framing,
            bytes,
            passage: { clientSocketTimeoutMs: shortMs, chunkTimeoutMs: shortMs / 2 },
          });
          assert.equal(await outcome(), 'client-stalled');
          await rig.cutUpstream();
        });

        it(`the client's, who sends no more (${framing})`, async () => {
          await begin({
            framing,
            bytes,
            passage: { clientSocketTimeoutMs: shortMs, chunkTimeoutMs: shortMs / 2 },
          });
          await rig.send(half);
          const error = await carried;
          assert.equal(codeOf(error), 'client-stalled');
          assert.equal(error instanceof GatewayError && error.ending, 'client-stalled');
          await rig.cutUpstream();
        });

        it(`the client's, who sends less than it must (${framing})`, async () => {
          const leastRate = { bytes: MiB, perMs: shortMs, graceMs: 0 };
          await begin({ framing, bytes, passage: { leastRate, clientSocketTimeoutMs: longMs } });
          await rig.send(half);
          const error = await carried;
          assert.equal(codeOf(error), 'client-too-slow');
          assert.match(String(error), /Of 1048576 bytes that must arrive within 0.15 s, 100000 did/);
          await rig.cutUpstream();
        });

        it(`the upstream's, that takes nothing while the client pushes (${framing})`, async () => {
          const passage = { ...strictClient, chunkTimeoutMs: 5 * shortMs };
          await begin({ framing, bytes, reads: false, hashes: false, passage });
          await flood(framing);
          assert.equal(await outcome(), 'upstream-stalled');
          await rig.cutUpstream();
        });

        it(`nobody's, while the upstream does not read for less long than it may (${framing})`, async () => {
          await begin({
            framing,
            bytes,
            reads: false,
            hashes: false,
            passage: { ...strictClient, chunkTimeoutMs: longMs },
          });
          await flood(framing);
          await sleep(5 * shortMs);
          rig.sink.read();
          await rig.send(half);
          await rig.finish();
          await wholeUpstream(bytes);
        });

        it(`the client's, when it is read from again and sends no more (${framing})`, async () => {
          const passage = { clientSocketTimeoutMs: shortMs, chunkTimeoutMs: longMs };
          await begin({ framing, bytes, reads: false, hashes: false, passage });
          await flood(framing);
          rig.sink.read();
          assert.equal(await outcome(), 'client-stalled');
          await rig.cutUpstream();
        });

        it(`the client's, when the time for the body is over mostly waiting for it (${framing})`, async () => {
          await begin({ framing, bytes, passage: { timeLimit: { baseMs: shortMs, perGibMs: 0 } } });
          await rig.send(half);
          assert.equal(await outcome(), 'client-too-slow');
          await rig.cutUpstream();
        });
      }

      it("nobody's, while the gateway itself is asked for more", async () => {
        let answer = (_allowedBytes: number): void => {};
        const allowMore = () =>
          new Promise<number>((resolve) => {
            answer = resolve;
          });
        const passage = {
          ...strictClient,
          chunkTimeoutMs: shortMs,
          allowedBytes: 1,
          allowMore,
          flushAfterMs: 0,
        };
        await begin({ framing: 'chunked', bytes: 0, passage });
        await rig.send('more');
        await sleep(5 * shortMs);
        answer(1_000);
        await rig.finish();
        await wholeUpstream(4);
      });
    });

    it('leaves no timer behind', async () => {
      const timers = (): number =>
        process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
      const passage = {
        clientSocketTimeoutMs: longMs,
        chunkTimeoutMs: longMs,
        leastRate: { bytes: 1, perMs: longMs, graceMs: 0 },
        timeLimit: { baseMs: longMs, perGibMs: 0 },
      };
      rig = await LaneRig.begin(under, { framing: 'length', bytes: 3, passage });
      const before = timers();
      carried = rig.carry();
      await rig.send('all');
      await wholeUpstream(3);
      assert.ok(timers() <= before, `${timers()} of ${before}`);
    });
  });
}
