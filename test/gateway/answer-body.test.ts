import assert from 'node:assert/strict';
import type { Dispatcher } from 'undici';
import { KiB, MiB } from '../../src/core/units.ts';
import { AnswerBody, type BodyReader } from '../../src/http/answer-body.ts';
import { eventually } from '../support/eventually.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TestGateway } from '../support/test-gateway.ts';

/** undici's side: gives the pieces that it has unless it is paused, then ends the body. */
class Parser implements Dispatcher.DispatchController {
  readonly body = new AnswerBody(this);
  aborted = false;
  paused = false;
  reason: Error | null = null;
  readonly #pieces: Buffer[];

  constructor(pieces: readonly Buffer[]) {
    this.#pieces = [...pieces];
  }

  get left(): number {
    return this.#pieces.length;
  }

  run(): void {
    while (!this.paused && !this.aborted) {
      const piece = this.#pieces.shift();
      if (piece === undefined) return this.body.end();
      this.body.push(piece);
    }
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.run();
  }

  abort(reason: Error): void {
    this.aborted = true;
    this.reason = reason;
  }
}

const pieces = (count: number, bytes: number): Buffer[] =>
  Array.from({ length: count }, (_, i) => Buffer.alloc(bytes, i));

describe('the body of an answer', () => {
  /** What a reader was told, in order. */
  const told: string[] = [];
  /** Takes so many pieces at a time. */
  const takes = (count: number): BodyReader => ({
    piece: ({ length }) => {
      told.push(`${length}`);
      return told.length % count !== 0;
    },
    end: () => told.push('end'),
    failed: (error) => told.push(String(error)),
  });
  beforeEach(() => {
    told.length = 0;
  });

  for (const [count, left] of [
    [15, 0],
    [16, 0],
    [17, 1],
    [40, 24],
  ] as const) {
    it(`holds 64 KiB for a reader that is not there yet: of ${count} pieces of 4 KiB ${left} have to wait`, () => {
      const parser = new Parser(pieces(count, 4 * KiB));
      parser.run();
      assert.equal(parser.left, left);
      parser.body.read(takes(Infinity));
      assert.deepEqual(told, [...Array(count).fill('4096'), 'end']);
    });
  }

  it('comes no further than the reader takes it', () => {
    const parser = new Parser(pieces(3, 10));
    parser.body.read(takes(2));
    parser.run();
    assert.deepEqual([told, parser.left], [['10', '10'], 1]);
    parser.body.resume();
    assert.deepEqual(told, ['10', '10', '10', 'end']);
  });

  it('that was held is given as far as the reader takes it, and its end last', () => {
    const parser = new Parser(pieces(3, 10));
    parser.run();
    parser.body.read(takes(2));
    assert.deepEqual(told, ['10', '10']);
    parser.body.resume();
    assert.deepEqual(told, ['10', '10', '10', 'end']);
  });

  it('that breaks says so after what had come', () => {
    const parser = new Parser([]);
    parser.body.push(Buffer.alloc(7));
    parser.body.fail(new Error('broken'));
    parser.body.read(takes(Infinity));
    assert.deepEqual(told, ['7', 'Error: broken']);
  });

  it('is read by a loop, piece by piece', async () => {
    const parser = new Parser(pieces(100, 4 * KiB));
    setImmediate(() => parser.run());
    let bytes = 0;
    for await (const piece of parser.body) bytes += piece.length;
    assert.deepEqual([bytes, parser.aborted], [400 * KiB, false]);
  });

  it('that breaks breaks the loop', async () => {
    const parser = new Parser([]);
    setImmediate(() => parser.body.fail(new Error('broken')));
    await assert.rejects(async () => {
      for await (const _ of parser.body);
    }, /broken/);
  });

  it('that a loop leaves is given up', async () => {
    const parser = new Parser(pieces(100, 4 * KiB));
    parser.run();
    for await (const _ of parser.body) break;
    assert.equal(parser.aborted, true);
  });

  for (const [kibibytes, aborted] of [
    [128, false],
    [256, true],
  ] as const) {
    it(`that nobody wants is ${aborted ? 'given up' : 'read to its end'} where it has ${kibibytes} KiB`, async () => {
      const parser = new Parser(pieces(kibibytes, KiB));
      parser.run();
      await parser.body.discard();
      assert.equal(parser.aborted, aborted);
    });
  }

  it('waits for a client that does not read, and comes to it whole', async () => {
    const body = Buffer.concat(pieces(64, MiB));
    const upstream = await ScriptedUpstream.start((connection) => {
      connection.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`);
      connection.write(body);
    });
    const sluice = await TestGateway.start(upstream.port);
    try {
      const client = await sluice.client();
      client.pauseReading();
      await client.request('GET /v2/images HTTP/1.1', 'Host: images');
      const connection = await eventually(() => upstream.connections[0] ?? null, 'the API is asked');
      let before = -1;
      let unchanged = 0;
      await eventually(() => {
        unchanged = connection.bytesTaken === before ? unchanged + 1 : 0;
        before = connection.bytesTaken;
        return unchanged === 25;
      }, 'nothing moves any more');
      assert.equal(before < body.length / 2, true, `${before} bytes have left the API`);
      client.resumeReading();
      assert.equal((await client.response()).body.equals(body), true, 'the bytes are the same');
    } finally {
      await sluice.stop();
      await upstream.stop();
    }
  });
});
