import assert from 'node:assert/strict';
import { AnswerHeads } from '../../src/core/answer-heads.ts';
import { KiB } from '../../src/core/units.ts';
import { assertRefuses } from './refusal.ts';

const go = 'HTTP/1.1 100 Continue\r\n\r\n';
const hints = 'HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n';
const answer = 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc';

/** What is handed on of an answer that comes in pieces of so many bytes. */
function passed(text: string, pieceBytes = text.length, heads = new AnswerHeads()): string {
  heads.expect();
  const bytes = Buffer.from(text, 'latin1');
  const out: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    out.push(heads.take(bytes.subarray(at, at + pieceBytes)));
  }
  return Buffer.concat(out).toString('latin1');
}

describe('the heads of answers', () => {
  for (const pieceBytes of [1, 2, 13, 1_000]) {
    it(`lose every 100 Continue and nothing else, in pieces of ${pieceBytes}`, () => {
      assert.equal(passed(answer, pieceBytes), answer);
      assert.equal(passed(go + answer, pieceBytes), answer);
      assert.equal(passed(go + hints + go + go + answer, pieceBytes), hints + answer);
      assert.equal(
        passed(`HTTP/1.1 100\r\nX-A: b\xe9\r\n\r\nHTTP/1.0 204 x\r\n\r\n`, pieceBytes),
        'HTTP/1.0 204 x\r\n\r\n',
      );
    });
  }

  it('are looked for at the start of an answer only', () => {
    assert.equal(passed(answer + go), answer + go);
    const heads = new AnswerHeads();
    assert.equal(heads.take(Buffer.from(go)).toString(), go, 'before a request');
    assert.equal(passed(answer, 7, heads), answer);
    assert.equal(passed(go + answer, 7, heads), answer, 'of the second answer too');
  });

  for (const version of ['HTTP/2.0', 'HTTP/0.9', 'HTTP/1.2', 'HTTP/1.10', 'http/1.1', 'ICY', ' HTTP/1.1']) {
    it(`with ${JSON.stringify(version)} are refused, after a 100 Continue too`, () => {
      assertRefuses('upstream-invalid', () => passed(`${version} 200 OK\r\n\r\n`), version);
      assertRefuses('upstream-invalid', () => passed(`${go}${version} 200 OK\r\n\r\n`, 3), version);
    });
  }

  for (const half of [
    'HTTP/1.1 100 Continue\nX: y\r\n\r\n',
    'HTTP/1.1 1000 Continue\r\n\r\n',
    'HTTP/1.1 100 a\0\r\n\r\n',
    'HTTP/1.1 100 Continue\r\nX : y\r\n\r\n',
    'HTTP/1.1 100 Continue\r\nX: y\r\n folded\r\n\r\n',
  ]) {
    it(`that are no 100 Continue are not left out as one: ${JSON.stringify(half)}`, () => {
      assertRefuses('upstream-invalid', () => passed(half + answer), half);
    });
  }

  it('of interim answers may have 64 KiB together', () => {
    const most = Math.floor((64 * KiB) / go.length);
    assert.equal(passed(go.repeat(most) + answer), answer);
    assertRefuses('upstream-invalid', () => passed(go.repeat(most + 1) + answer), 'one more');
    assertRefuses('upstream-invalid', () => passed(`HTTP/1.1 100 ${'x'.repeat(64 * KiB)}`, 1_000), 'no end');
    const heads = new AnswerHeads();
    for (let i = 0; i < 3; i += 1) {
      assert.equal(passed(go.repeat(most) + answer, 5_000, heads), answer, 'for each answer anew');
    }
  });
});
