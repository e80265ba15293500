import assert from 'node:assert/strict';
import fc from 'fast-check';
import { readJson } from '../../src/core/json-body.ts';
import { assertRefuses } from './refusal.ts';

const bytes = (text: string, encoding: BufferEncoding = 'utf8') => Buffer.from(text, encoding);

describe('a body of JSON', () => {
  it('goes on as it was read: of a key that stands twice the last one, in one spelling', () => {
    for (const [given, sent] of [
      ['{"path":"/name","path":"/locations"}', '{"path":"/locations"}'],
      ['{"p\\u0061th":"\\/locations"}', '{"path":"/locations"}'],
      [' [ 1.0 , 1e3 ,-0 ]\n', '[1,1000,0]'],
      ['"\\u00e9\\ud83d\\ude00"', '"é😀"'],
      ['"\\ud800"', '"\\ud800"'],
      ['{"__proto__":{"a":1}}', '{"__proto__":{"a":1}}'],
      ['\ufeff{}', '{}'],
      ['9007199254740991', '9007199254740991'],
    ] as const) {
      assert.equal(readJson(bytes(given)).text, sent);
    }
  });

  it('means the same after as before', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), (json) => {
        // numbers that do not survive are refused, which is looked at below
        fc.pre(!/\d{16}|e\+/.test(json));
        const { document, text } = readJson(bytes(json));
        assert.deepEqual(JSON.parse(text), document);
        assert.equal(readJson(bytes(text)).text, text);
      }),
    );
  });

  const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);
  const refused: Record<string, Uint8Array> = {
    nothing: bytes(''),
    'a form': bytes('method=glance-direct'),
    'two texts': bytes('{}{}'),
    'a comment': bytes('{}//'),
    NaN: bytes('[NaN]'),
    Infinity: bytes('[Infinity]'),
    'a number too large for a double': bytes('[1e400]'),
    'a whole number that a double does not hold': bytes('[9007199254740993]'),
    'a large whole number in a key of an object': bytes('{"a":{"b":-9007199254740992}}'),
    'UTF-16': bytes('{"a":1}', 'utf16le'),
    'Latin-1': bytes('{"a":"é"}', 'latin1'),
    'a surrogate in UTF-8': Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22),
    'an overlong slash': Uint8Array.of(0x22, 0xc0, 0xaf, 0x22),
    'a hundred and one levels': bytes(nested(102)),
    'half a million levels': bytes(nested(500_000)),
  };
  for (const [name, body] of Object.entries(refused)) {
    it(`is not ${name}`, () => assertRefuses('body-not-json', () => readJson(body), name));
  }

  it('may have a hundred levels', () => {
    assert.equal(readJson(bytes(nested(100))).text, nested(100));
  });
});
