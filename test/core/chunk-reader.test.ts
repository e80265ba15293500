import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type ChunkPosition, ChunkReader, chunkStart, readChunks } from '../../src/core/chunk-reader.ts';
import { GatewayError } from '../../src/core/errors.ts';
import { KiB } from '../../src/core/units.ts';
import { NodeParser } from '../support/node-parser.ts';

const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1');

interface Reading {
  readonly data: string;
  /** Of the body; what comes after its end is not. */
  readonly usedBytes: number;
  readonly done: boolean;
  /** The reason; null where nothing is wrong with it. */
  readonly error: string | null;
  readonly position: ChunkPosition;
}

/** @param pieces read one after the other, each by a reader that goes on from where the one before was. */
function read(pieces: readonly Uint8Array[]): Reading {
  const data: Uint8Array[] = [];
  let usedBytes = 0;
  let reader = new ChunkReader(chunkStart);
  const reading = (error: string | null): Reading => ({
    data: Buffer.concat(data).toString('latin1'),
    usedBytes,
    done: reader.done,
    error,
    position: reader.position,
  });
  for (const piece of pieces) {
    reader = new ChunkReader(structuredClone(reader.position));
    try {
      usedBytes += readChunks(reader, piece, (taken) => data.push(taken));
    } catch (error) {
      assert.ok(error instanceof GatewayError, 'it says what is wrong');
      assert.equal(error.code, 'body-invalid');
      assert.equal(error.ending, 'client-gone');
      return reading(error.message.replace(/^The body is not framed as HTTP\/1\.1 demands: /, ''));
    }
  }
  return reading(null);
}

const whole = (text: string): Reading => read([bytesOf(text)]);

/** A whole body, and its data. */
const good: readonly (readonly [name: string, body: string, data: string])[] = [
  ['no data', '0\r\n\r\n', ''],
  ['no data, in many zeros', '000000\r\n\r\n', ''],
  ['one byte', '1\r\na\r\n0\r\n\r\n', 'a'],
  ['several chunks', '3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n', 'abcd'],
  ['digits in both cases', `a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n`, '01234567890123456789'],
  ['two digits', `1f\r\n${'x'.repeat(31)}\r\n0\r\n\r\n`, 'x'.repeat(31)],
  ['leading zeros, more of them than a number has digits', `${'0'.repeat(40)}3\r\nabc\r\n0\r\n\r\n`, 'abc'],
  ['data that looks like framing', '7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n', '\r\n0\r\n\r\n'],
  ['an extension', '1;name\r\na\r\n0\r\n\r\n', 'a'],
  ['extensions with values', '1;name=value;other=x\r\na\r\n0;last\r\n\r\n', 'a'],
  ['a quoted extension', '1;name="a;b \\" \xe9\t"\r\na\r\n0\r\n\r\n', 'a'],
  ['a quoted extension and another', '1;a="";b\r\na\r\n0\r\n\r\n', 'a'],
  ['a trailer', '1\r\na\r\n0\r\nDigest: x\r\n\r\n', 'a'],
  ['an empty trailer, one of any bytes', '0\r\nA:\r\nb: \t x y \xe9\r\n\r\n', ''],
];

/** The smallest beginning of a body that is refused with its last byte, and what for. */
const bad: readonly (readonly [name: string, body: string, reason: RegExp])[] = [
  ['no size', '\r', /hexadecimal/],
  ['no size but an extension', ';', /hexadecimal/],
  ['a size of something else', 'g', /hexadecimal/],
  ['a minus', '-', /hexadecimal/],
  ['a plus', '+', /hexadecimal/],
  ['0x', '0x', /hexadecimal/],
  ['space before a size', ' ', /hexadecimal/],
  ['space after a size', '1 ', /hexadecimal/],
  ['a tab after a size', '1\t', /hexadecimal/],
  ['LF after a size without its CR', '1\n', /hexadecimal/],
  ['@, one before A', '@', /hexadecimal/],
  ['`, one before a', '`', /hexadecimal/],
  [':, one after 9', ':', /hexadecimal/],
  ['/, one before 0', '/', /hexadecimal/],
  ['CR without its LF after a size', '1\ra', /CR and LF/],
  ['two CR after a size', '1\r\r', /CR and LF/],
  ['data longer than its size', '1\r\nab', /CR and LF/],
  ['data without its CR', '1\r\na\n', /CR and LF/],
  ['data without its LF', '1\r\na\r1', /CR and LF/],
  ['an extension without a name', '1;\r', /extension/],
  ['an extension that begins with a space', '1; ', /extension/],
  ['an extension that begins with =', '1;=', /extension/],
  ['two semicolons', '1;;', /extension/],
  ['an extension with a space', '1;a ', /extension/],
  ['an extension with a bare LF', '1;a\n', /extension/],
  ['an extension with NUL', '1;a=\0', /extension/],
  ['an extension of other bytes', '1;\xe9', /extension/],
  ['a quoted extension with CR', '1;a="\r', /extension/],
  ['a quoted extension with LF', '1;a="\n', /extension/],
  ['a quoted extension with an escaped CR', '1;a="\\\r', /extension/],
  ['a quoted extension with DEL', '1;a="\x7f', /extension/],
  ['something after a quoted extension', '1;a=""x', /extension/],
  ['a trailer without a name', '0\r\n:', /trailer/],
  ['a trailer that begins with a space', '0\r\n ', /trailer/],
  ['a folded trailer', '0\r\na: b\r\n ', /trailer/],
  ['space after the name of a trailer', '0\r\na ', /trailer/],
  ['a trailer without a colon', '0\r\na\r', /trailer/],
  ['a trailer with a bare LF', '0\r\na: b\n', /trailer/],
  ['a trailer with NUL', '0\r\na: \0', /trailer/],
  ['a trailer with CR alone', '0\r\na: b\rc', /CR and LF/],
  ['LF alone after the last chunk', '0\r\n\n', /trailer/],
  ['CR alone at the end', '0\r\n\ra', /CR and LF/],
  ['a length in the trailers', '0\r\nContent-Length:', /Content-Length in its trailers/],
  ['a coding in the trailers', '0\r\ntransfer-ENCODING:', /transfer-ENCODING in its trailers/],
];

describe('the reader of chunks', () => {
  for (const [name, body, data] of good) {
    it(`reads ${name}, however it is cut, and leaves what follows`, () => {
      const bytes = bytesOf(`${body}PUT /`);
      const expected = whole(`${body}PUT /`);
      assert.equal(expected.error, null);
      assert.equal(expected.data, data);
      assert.equal(expected.usedBytes, body.length);
      assert.equal(expected.done, true);
      for (let cut = 0; cut <= bytes.length; cut += 1) {
        assert.deepEqual(read([bytes.subarray(0, cut), bytes.subarray(cut)]), expected, `cut at ${cut}`);
      }
      const each = Array.from(bytes, (byte) => Uint8Array.of(byte));
      assert.deepEqual(read(each), expected, 'byte by byte');
      for (let cut = 0; cut < body.length; cut += 1) {
        assert.equal(read([bytes.subarray(0, cut)]).done, false, `not done after ${cut}`);
      }
    });
  }

  for (const [name, body, reason] of bad) {
    it(`refuses ${name}, however it is cut, and not a byte earlier`, () => {
      const bytes = bytesOf(body);
      assert.match(whole(body).error ?? 'nothing', reason);
      assert.equal(read([bytes.subarray(0, -1)]).error, null);
      for (let cut = 0; cut <= bytes.length; cut += 1) {
        assert.match(read([bytes.subarray(0, cut), bytes.subarray(cut)]).error ?? 'nothing', reason);
      }
    });
  }

  for (const [digits, bytes] of [
    ['1fffffffffffff', 2 ** 53 - 1],
    ['0001FFFFFFFFFFFFF', 2 ** 53 - 1],
    ['1ffffffffffffe', 2 ** 53 - 2],
  ] as const) {
    it(`reads a size of ${bytes}`, () => {
      const { position, error } = whole(`${digits}\r\n`);
      assert.equal(error, null);
      assert.deepEqual(position, { ...chunkStart, phase: 'data', leftBytes: bytes });
    });
  }

  for (const digits of ['20000000000000', '0020000000000000', 'ffffffffffffffff', '10000000000000000']) {
    it(`refuses a size of 0x${digits}: no number is as large`, () => {
      assert.match(whole(`${digits}\r\n`).error ?? 'nothing', /2\^53/);
    });
  }

  it('counts data that others have taken', () => {
    const reader = new ChunkReader();
    assert.equal(reader.readFraming(bytesOf('5\r\nabcde')), 3);
    assert.equal(reader.dataBytes, 5);
    reader.took(4);
    assert.equal(reader.dataBytes, 1);
    assert.equal(reader.readFraming(bytesOf('\r\n')), 0, 'data is not framing');
    reader.took(1);
    assert.equal(reader.dataBytes, 0);
    assert.equal(reader.readFraming(bytesOf('\r\n0\r\n\r\n0')), 7);
    assert.equal(reader.done, true);
    assert.equal(reader.readFraming(bytesOf('1')), 0, 'nothing comes after the end');
  });

  /** Bodies with so many bytes in extensions, trailers or both: what stands after the semicolon, or from the name on. */
  const beside: readonly (readonly [name: string, body: (bytes: number) => string])[] = [
    ['an extension', (bytes) => `1;${'e'.repeat(bytes - 1)}\r\na\r\n0\r\n\r\n`],
    [
      'many extensions',
      (bytes) => `${'1;e\r\na\r\n'.repeat(bytes / 2 - 8)}1;${'e'.repeat(15)}\r\na\r\n0\r\n\r\n`,
    ],
    ['a trailer', (bytes) => `0\r\nn:${'v'.repeat(bytes - 2)}\r\n\r\n`],
    ['an extension and a trailer', (bytes) => `0;${'e'.repeat(9)}\r\nn:${'v'.repeat(bytes - 12)}\r\n\r\n`],
  ];
  for (const [name, body] of beside) {
    it(`reads 16 KiB of ${name} and no byte more`, () => {
      for (const bytes of [16 * KiB - 2, 16 * KiB]) {
        const { error, done, position } = whole(body(bytes));
        assert.equal(error, null, `${bytes} bytes`);
        assert.equal(done, true);
        assert.equal(position.besideBytes, bytes, 'the table says how many there are');
      }
      assert.match(whole(body(16 * KiB + 2)).error ?? 'nothing', /longer than 16384 bytes/);
    });
  }
});

/** What our reader says no to although Node's parser takes it. */
const stricter = [
  // a byte that RFC 9112 §7.1.1 does not allow: Node reads `;=b`, `;;`, and quotes inside a value
  /extension that is none/,
  // Node reads up to 2^64 - 1
  /2\^53/,
];

/** Pieces of which bodies are made, and by which they are spoilt. */
const chunk = fc
  .tuple(
    fc.string({ minLength: 1, maxLength: 40 }).map((text) => bytesOf(text).toString('latin1')),
    fc.constantFrom('', '', '', ';a', ';a=b', ';a="b c";d', ';e="\\""'),
    fc.constantFrom('', '0', '000'),
    fc.boolean(),
  )
  .map(([data, extension, zeros, upper]) => {
    const size = data.length.toString(16);
    return `${zeros}${upper ? size.toUpperCase() : size}${extension}\r\n${data}\r\n`;
  });
const body = fc
  .tuple(
    fc.array(chunk, { maxLength: 6 }),
    fc.constantFrom('0', '00', '0;x', '0;x="y"'),
    fc.array(fc.constantFrom('a: b\r\n', 'C:\r\n', 'digest: \xe9 x\r\n'), { maxLength: 3 }),
  )
  .map(([chunks, last, trailers]) => `${chunks.join('')}${last}\r\n${trailers.join('')}\r\n`);
const spoiler = fc.constantFrom(
  ...['\r', '\n', '\r\n', ' ', '\t', ';', '=', '"', '\\', ':', '0', '1', 'f', 'g', '\0', '\x7f', '\xe9', ','],
  ...['Content-Length: 1\r\n', '0\r\n\r\n', 'x'.repeat(20)],
);
const mutation = fc.record({ at: fc.nat(400), drop: fc.nat(3), put: fc.oneof(spoiler, fc.constant('')) });
const mutate = (text: string, changes: readonly { at: number; drop: number; put: string }[]): string =>
  changes.reduce((now, { at, drop, put }) => {
    const place = at % (now.length + 1);
    return now.slice(0, place) + put + now.slice(place + drop);
  }, text);

const next = 'GET /next HTTP/1.1\r\nHost: images\r\n\r\n';

/** What our reader takes Node's parser takes, and reads to the same bytes. */
function agree(text: string): void {
  const ours = whole(text);
  const node = new NodeParser();
  if (ours.error === null) {
    assert.equal(node.read(bytesOf(text).subarray(0, ours.usedBytes)), null);
    assert.equal(node.complete === 1, ours.done, 'it ends where ours ends');
    assert.equal(node.body.toString('latin1'), ours.data);
    if (ours.done) {
      assert.equal(node.read(bytesOf(next)), null);
      assert.equal(node.heads, 2, 'and the next request begins there');
    }
  } else {
    const refused = node.read(bytesOf(text)) !== null || node.complete > 1 || node.heads > 1;
    const known = stricter.some((reason) => reason.test(ours.error ?? ''));
    assert.ok(refused || known, `only ours refuses it: ${ours.error}`);
  }
}

describe("the reader of chunks, next to Node's parser", () => {
  it('reads bodies to the same bytes', () => {
    const read = fc.property(body, (text) => {
      assert.equal(whole(text).error, null);
      assert.equal(whole(text).done, true);
      agree(text);
    });
    fc.assert(read, { numRuns: 500 });
  });

  it('takes nothing that Node would not take', () => {
    fc.assert(
      fc.property(body, fc.array(mutation, { minLength: 1, maxLength: 3 }), (text, changes) => {
        agree(mutate(text, changes));
      }),
      { numRuns: 5_000 },
    );
  });

  it('refuses what Node refuses, and says so where it is stricter', () => {
    for (const [, text] of good) agree(text);
    // Node judges a field of trailers when it has seen its value
    for (const [, text] of bad) agree(`${text} chunked\r\n\r\n`);
  });
});
