import { libc, wouldWait } from './libc.ts';

/** How the end of a body is found: its length in bytes, or frames. */
export type BodyFraming = number | 'chunked';

/** A line before a frame: hexadecimal digits; extensions are not expected here. */
const lineBytes = 32;
const line = Buffer.alloc(lineBytes);
/** One call takes at most so much, so that many connections take turns. */
const mostBytes = 1 << 30;

/** A body of which no byte reaches this process. */
export class BodyDiscard {
  /** Bytes of the body itself that were thrown away. */
  bytes = 0;
  /** To be thrown away before the next line is read. */
  #leftBytes: number;
  /** Of these, at the end: CRLF after a frame. */
  #frameEndBytes = 0;
  #lastFrame: boolean;
  /** Of the line before a frame, what has arrived until now. */
  #beginningOfLine = '';

  constructor(framing: BodyFraming) {
    this.#leftBytes = framing === 'chunked' ? 0 : framing;
    this.#lastFrame = framing !== 'chunked';
  }

  /**
   * Takes what has arrived.
   * @returns true when the body has ended.
   * @throws Error if the connection ends before, or if a frame has no size; SystemCallError.
   */
  take(fd: number): boolean {
    for (;;) {
      if (this.#leftBytes === 0) {
        if (this.#lastFrame) return true;
        if (!this.#readLine(fd)) return false;
      }
      const askedBytes = Math.min(this.#leftBytes, mostBytes);
      const taken = libc.discard(fd, askedBytes);
      if (taken === wouldWait) return false;
      if (taken === 0) throw new Error('the connection ended in the middle of a body');
      this.#leftBytes -= taken;
      const before = this.#leftBytes + taken - this.#frameEndBytes;
      const after = this.#leftBytes - this.#frameEndBytes;
      this.bytes += Math.max(0, before) - Math.max(0, after);
    }
  }

  /** @returns false if it has not arrived whole. */
  #readLine(fd: number): boolean {
    const peeked = libc.peek(fd, line);
    if (peeked === wouldWait) return false;
    if (peeked === 0) throw new Error('the connection ended before the last frame');
    const text = this.#beginningOfLine + line.toString('latin1', 0, peeked);
    const end = text.indexOf('\r\n');
    // what is left in the socket may keep the kernel from asking for more
    const taken = end < 0 ? peeked : end + 2 - this.#beginningOfLine.length;
    if (libc.discard(fd, taken) !== taken) throw new Error('what was peeked is not there');
    this.#beginningOfLine = end < 0 ? text : '';
    const size = end < 0 ? text.replace('\r', '') : text.slice(0, end);
    if (!/^[0-9a-f]{0,12}$/i.test(size) || (end >= 0 && size === '')) {
      throw new Error(`a frame of size ${JSON.stringify(size)}`);
    }
    if (end < 0) return false;
    const sizeBytes = Number.parseInt(size, 16);
    this.#lastFrame = sizeBytes === 0;
    this.#leftBytes = sizeBytes + 2;
    this.#frameEndBytes = 2;
    return true;
  }
}
