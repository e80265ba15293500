import assert from 'node:assert/strict';
import { mostPlainBytes, plainHead } from '../../src/core/plain-answer.ts';

const head = (...lines: string[]): Buffer => Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');

describe('the head of a plain answer', () => {
  it('is read as it stands: order, case, duplicates and bytes beyond ASCII', () => {
    const bytes = Buffer.concat([
      head('HTTP/1.1 200 OK', 'X-b: \xe9', 'x-B:2', 'Content-Length: 3', 'Connection: Keep-Alive', 'X-None:'),
      Buffer.from('abc'),
    ]);
    assert.deepEqual(plainHead(bytes), {
      status: 200,
      headers: ['X-b', '\xe9', 'x-B', '2', 'Content-Length', '3', 'Connection', 'Keep-Alive', 'X-None', ''],
      headBytes: bytes.length - 3,
      bodyBytes: 3,
    });
  });

  it('may have no reason, and any final status that has a body', () => {
    for (const status of [200, 203, 301, 404, 503, 599]) {
      assert.equal(plainHead(head(`HTTP/1.1 ${status}`, 'Content-Length: 0'))?.status, status);
    }
  });

  const length = 'Content-Length: 3';
  const others: [what: string, lines: string[]][] = [
    ['is of HTTP/1.0', ['HTTP/1.0 200 OK', length]],
    ['is of a version in other letters', ['http/1.1 200 OK', length]],
    ['is an interim one', ['HTTP/1.1 100 Continue', length]],
    ['switches protocols', ['HTTP/1.1 101 Switching', length]],
    ['has a status beyond 599', ['HTTP/1.1 600 OK', length]],
    ['has a status of four digits', ['HTTP/1.1 2000 OK', length]],
    ['has no body by its status 204', ['HTTP/1.1 204 No Content', length]],
    ['has no body by its status 304', ['HTTP/1.1 304 Not Modified', length]],
    ['says no length', ['HTTP/1.1 200 OK', 'X: 1']],
    ['says its length twice', ['HTTP/1.1 200 OK', length, length]],
    ['says a length with a sign', ['HTTP/1.1 200 OK', 'Content-Length: +3']],
    ['says a list of lengths', ['HTTP/1.1 200 OK', 'Content-Length: 3, 3']],
    ['says no number', ['HTTP/1.1 200 OK', 'Content-Length:']],
    ['is longer than may be held', ['HTTP/1.1 200 OK', `Content-Length: ${mostPlainBytes + 1}`]],
    ['is chunked', ['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked']],
    ['is chunked beside its length', ['HTTP/1.1 200 OK', length, 'Transfer-Encoding: chunked']],
    ['ends the connection', ['HTTP/1.1 200 OK', length, 'Connection: close']],
    ['names a field of the hop', ['HTTP/1.1 200 OK', length, 'Connection: keep-alive, X']],
    ['says how long the connection is kept', ['HTTP/1.1 200 OK', length, 'Keep-Alive: timeout=5']],
    ['announces a trailer', ['HTTP/1.1 200 OK', length, 'Trailer: X']],
    ['offers another protocol', ['HTTP/1.1 200 OK', length, 'Upgrade: h2c']],
    ['folds a line', ['HTTP/1.1 200 OK', length, ' folded']],
    ['has a space before a colon', ['HTTP/1.1 200 OK', length, 'X : 1']],
    ['has spaces at the end of a value', ['HTTP/1.1 200 OK', length, 'X: 1 ']],
    ['has a field without a name', ['HTTP/1.1 200 OK', length, ': 1']],
    ['has a line without a colon', ['HTTP/1.1 200 OK', length, 'X']],
    ['holds a NUL', ['HTTP/1.1 200 OK', length, 'X: a\0b']],
    ['holds a bare CR', ['HTTP/1.1 200 OK', length, 'X: a\rb']],
    ['holds a bare LF', ['HTTP/1.1 200 OK', length, 'X: a\nY: b']],
    ['holds a control character in its reason', ['HTTP/1.1 200 O\x01K', length]],
  ];
  for (const [what, lines] of others) {
    it(`is not what ${what}`, () => {
      assert.equal(plainHead(head(...lines)), null);
    });
  }

  it('is not half of one', () => {
    const whole = head('HTTP/1.1 200 OK', length);
    for (let bytes = 0; bytes < whole.length; bytes += 1)
      assert.equal(plainHead(whole.subarray(0, bytes)), null);
  });
});
