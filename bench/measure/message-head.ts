import type { BodyFraming } from './body-discard.ts';
import { libc, wouldWait } from './libc.ts';

const most = Buffer.alloc(16 * 1024);

/** First line and framing of a request or an answer, as far as a generator and an origin need it. */
export class MessageHead {
  /** The first line. */
  readonly line: string;
  readonly framing: BodyFraming;
  /** The connection ends after this exchange. */
  readonly closes: boolean;

  /**
   * Takes a head from a socket, and nothing behind it.
   * @returns null if it has not arrived whole; 'end' where the connection has ended.
   * @throws Error if it is longer than 16 KiB; SystemCallError.
   */
  static take(fd: number): MessageHead | 'end' | null {
    const peeked = libc.peek(fd, most);
    if (peeked === wouldWait) return null;
    if (peeked === 0) return 'end';
    const end = most.subarray(0, peeked).indexOf('\r\n\r\n');
    if (end < 0) {
      if (peeked === most.length) throw new Error('a head without end');
      return null;
    }
    if (libc.discard(fd, end + 4) !== end + 4) throw new Error('what was peeked is not there');
    return new MessageHead(most.toString('latin1', 0, end));
  }

  constructor(text: string) {
    const lineEnd = text.indexOf('\r\n');
    this.line = lineEnd < 0 ? text : text.slice(0, lineEnd);
    const length = /\r\ncontent-length: *(\d+)/i.exec(text)?.[1];
    this.framing = /\r\ntransfer-encoding: *chunked/i.test(text) ? 'chunked' : Number(length ?? 0);
    this.closes = /\r\nconnection: *close/i.test(text);
  }
}
