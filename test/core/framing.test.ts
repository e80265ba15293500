import assert from 'node:assert/strict';
import type { ErrorCode } from '../../src/core/errors.ts';
import { type BodyFraming, bodyFraming, uploadLength } from '../../src/core/framing.ts';
import { assertRefuses } from './refusal.ts';

const none: BodyFraming = { kind: 'none' };
const chunked: BodyFraming = { kind: 'chunked' };
const length = (bytes: number): BodyFraming => ({ kind: 'length', bytes });

describe('the framing of a body', () => {
  const accepted: [rawHeaders: string[], httpVersion: string, framing: BodyFraming][] = [
    [[], '1.1', none],
    [[], '1.0', none],
    [['Host', 'a'], '1.1', none],
    [['Content-Length', '0'], '1.1', length(0)],
    [['CONTENT-LENGTH', '5'], '1.0', length(5)],
    [['content-length', '0005'], '1.1', length(5)],
    [['Content-Length', '9007199254740991'], '1.1', length(2 ** 53 - 1)],
    [['Transfer-Encoding', 'chunked'], '1.1', chunked],
    [['transfer-encoding', 'CHUNKED', 'Host', 'a'], '1.1', chunked],
    [['X', 'Content-Length', 'Y', 'Transfer-Encoding'], '1.1', none],
  ];
  for (const [rawHeaders, httpVersion, framing] of accepted) {
    it(`${JSON.stringify(rawHeaders)} in HTTP/${httpVersion} is ${JSON.stringify(framing)}`, () => {
      assert.deepEqual(bodyFraming({ rawHeaders, httpVersion }), framing);
    });
  }

  const wrongLengths = [
    '',
    '-1',
    '+1',
    ' 1',
    '1 ',
    '1.0',
    '0x1',
    '1e3',
    '1_0',
    '1,1',
    '1, 1',
    '٣',
    '9007199254740992',
  ];
  const refused: [code: ErrorCode, rawHeaders: string[], httpVersion: string][] = [
    ...wrongLengths.map((value): [ErrorCode, string[], string] => [
      'length-invalid',
      ['Content-Length', value],
      '1.1',
    ]),
    ['length-invalid', ['Content-Length', '9'.repeat(400)], '1.1'],
    ['length-invalid', ['Content-Length', '5', 'Content-Length', '5'], '1.1'],
    ['length-invalid', ['Content-Length', '5', 'content-length', '6'], '1.0'],
    ['request-invalid', ['Content-Length', '5', 'Transfer-Encoding', 'chunked'], '1.1'],
    ['request-invalid', ['Transfer-Encoding', 'gzip', 'Content-Length', 'x'], '1.1'],
    ['request-invalid', ['Transfer-Encoding', 'chunked'], '1.0'],
    ['request-invalid', [], '0.9'],
    ['request-invalid', [], '2.0'],
    ['coding-unsupported', ['Transfer-Encoding', 'gzip, chunked'], '1.1'],
    ['coding-unsupported', ['Transfer-Encoding', 'chunked, chunked'], '1.1'],
    ['coding-unsupported', ['Transfer-Encoding', 'chunked', 'Transfer-Encoding', 'chunked'], '1.1'],
    ['coding-unsupported', ['Transfer-Encoding', 'identity'], '1.1'],
    ['coding-unsupported', ['Transfer-Encoding', 'xchunked'], '1.1'],
    ['coding-unsupported', ['Transfer-Encoding', 'chunked;a=b'], '1.1'],
    ['request-invalid', ['Transfer-Encoding', ''], '1.1'],
  ];
  for (const [code, rawHeaders, httpVersion] of refused) {
    it(`${JSON.stringify(rawHeaders)} in HTTP/${httpVersion} is refused as ${code}`, () => {
      assertRefuses(code, () => bodyFraming({ rawHeaders, httpVersion }), 'framing');
    });
  }
});

describe('the declared length of an upload', () => {
  const accepted: [framing: BodyFraming, sizeHeader: string | undefined, declaredBytes: number | null][] = [
    [none, undefined, 0],
    [none, '0', 0],
    [length(0), undefined, 0],
    [length(0), '0', 0],
    [length(5), undefined, 5],
    [length(5), '5', 5],
    [length(5), '05', 5],
    [chunked, undefined, null],
    [chunked, '0', 0],
    [chunked, '5', 5],
    [chunked, '9007199254740991', 2 ** 53 - 1],
  ];
  for (const [framing, sizeHeader, declaredBytes] of accepted) {
    it(`of ${JSON.stringify(framing)} with size header ${sizeHeader} is ${declaredBytes}`, () => {
      assert.deepEqual(uploadLength(framing, sizeHeader), { declaredBytes });
    });
  }

  const refused: [code: ErrorCode, framing: BodyFraming, sizeHeader: string][] = [
    ['size-mismatch', none, '1'],
    ['size-mismatch', length(0), '1'],
    ['size-mismatch', length(5), '4'],
    ['size-mismatch', length(5), '6'],
    ['size-mismatch', length(5), '0'],
    ['length-invalid', chunked, ''],
    ['length-invalid', chunked, '-1'],
    ['length-invalid', chunked, '+1'],
    ['length-invalid', chunked, '1.5'],
    ['length-invalid', chunked, '5, 5'],
    ['length-invalid', chunked, '9007199254740992'],
    ['length-invalid', length(5), 'five'],
    ['length-invalid', none, '0x0'],
  ];
  for (const [code, framing, sizeHeader] of refused) {
    it(`of ${JSON.stringify(framing)} with size header "${sizeHeader}" is refused as ${code}`, () => {
      assertRefuses(code, () => uploadLength(framing, sizeHeader), sizeHeader);
    });
  }
});
