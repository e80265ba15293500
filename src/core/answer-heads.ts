import { GatewayError } from './errors.ts';
import { KiB } from './units.ts';

/** Interim answers to one request may have so many bytes together: as long a head as an answer may have. */
const mostInterimBytes = 64 * KiB;

/** `HTTP/1.1 200`: what has to be here before an answer can be judged. */
const startBytes = 12;

const start = /^HTTP\/1\.[01] /;
const interim = /^HTTP\/1\.[01] 1/;
const wholeContinue =
  /^HTTP\/1\.[01] 100(?: [\t -~\x80-\xff]*)?\r\n(?:[!#-'*+\-.^-`|~0-9A-Za-z]+:[\t -~\x80-\xff]*\r\n)*\r\n$/;

const nothing = Buffer.alloc(0);

/**
 * The bytes of an API on one connection, on their way to a parser that is too strict in one thing and too lax in another:
 * undici ends the connection at a `100 Continue` that it has not asked for, which RFC 9110 §15.2 lets a server send to
 * anybody; and it takes every version of HTTP for 1.1. So the first is left out here, and the second refused.
 */
export class AnswerHeads {
  #awaited = false;
  #held: Buffer = nothing;
  #interimBytes = 0;

  /** A request goes out: what comes in next is its answer. */
  expect(): void {
    this.#awaited = true;
    this.#held = nothing;
    this.#interimBytes = 0;
  }

  /**
   * What of the bytes goes on to the parser now; the start of an answer is held until it can be judged.
   * @throws GatewayError `upstream-invalid` for another version than HTTP/1.1 or 1.0, for a `100 Continue` that is not
   *   well-formed, and for more than 64 KiB of interim answers.
   */
  take(bytes: Buffer): Buffer {
    if (!this.#awaited) return bytes;
    this.#held = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    const passed: Buffer[] = [];
    while (this.#awaited && this.#held.length >= startBytes) {
      const line = this.#held.toString('latin1', 0, startBytes);
      if (!start.test(line)) throw invalid('does not begin as HTTP/1.1 or 1.0 does.');
      if (!interim.test(line)) {
        this.#awaited = false;
        passed.push(this.#held);
        this.#held = nothing;
        break;
      }
      const end = this.#held.indexOf('\r\n\r\n');
      const headBytes = end === -1 ? this.#held.length : end + 4;
      if (this.#interimBytes + headBytes > mostInterimBytes) throw invalid('has no end of interim answers.');
      if (end === -1) break;
      this.#interimBytes += headBytes;
      const head = this.#held.subarray(0, headBytes);
      this.#held = this.#held.subarray(headBytes);
      if (!line.endsWith(' 100')) passed.push(head);
      else if (!wholeContinue.test(head.toString('latin1')))
        throw invalid('begins with half a 100 Continue.');
    }
    return passed.length === 1 ? (passed[0] ?? nothing) : Buffer.concat(passed);
  }
}

const invalid = (what: string): GatewayError =>
  new GatewayError('upstream-invalid', `The answer of the API ${what}`, { ending: 'upstream-lost' });
