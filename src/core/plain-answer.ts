import type { RawHeaders } from './headers.ts';
import { KiB } from './units.ts';

/** The head of an answer that every server reads in one way, and whose body ends after so many bytes. */
export interface PlainHead {
  readonly status: number;
  readonly headers: RawHeaders;
  readonly headBytes: number;
  readonly bodyBytes: number;
}

/** The longest body of a plain answer: none is longer than what is held of an answer that nobody reads yet. */
export const mostPlainBytes = 64 * KiB;

const statusLine = /^HTTP\/1\.1 ([2-5]\d\d)(?: [\t -~\x80-\xff]*)?$/;
const field = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ?((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)$/;
const length = /^\d{1,6}$/;
// what frames the answer otherwise, or says what becomes of the connection
const notPlain: ReadonlySet<string> = new Set([
  'transfer-encoding',
  'connection',
  'proxy-connection',
  'keep-alive',
  'upgrade',
  'trailer',
]);

/**
 * Reads the head of an answer to a GET or OPTIONS, as nearly every small answer is written. Null for any other, valid or not,
 * and where the head is not whole: that is for a parser to judge. Nothing is taken here that a strict parser would refuse.
 * @param bytes from the start of the answer.
 */
export function plainHead(bytes: Buffer): PlainHead | null {
  const end = bytes.indexOf('\r\n\r\n');
  if (end === -1) return null;
  const [first = '', ...fields] = bytes.toString('latin1', 0, end).split('\r\n');
  const status = Number(statusLine.exec(first)?.[1] ?? 0);
  // the last two have no body, whatever their head says
  if (status === 0 || status === 204 || status === 304) return null;
  const headers: string[] = [];
  let bodyBytes: number | null = null;
  for (const each of fields) {
    const [, name, value] = field.exec(each) ?? [];
    if (name === undefined || value === undefined) return null;
    const lower = name.toLowerCase();
    if (notPlain.has(lower) && !(lower === 'connection' && value.toLowerCase() === 'keep-alive')) return null;
    if (lower === 'content-length') {
      if (bodyBytes !== null || !length.test(value)) return null;
      bodyBytes = Number(value);
    }
    headers.push(name, value);
  }
  if (bodyBytes === null || bodyBytes > mostPlainBytes) return null;
  return { status, headers, headBytes: end + 4, bodyBytes };
}
