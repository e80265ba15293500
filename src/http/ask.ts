import type { Dispatcher } from 'undici';
import { GatewayError } from '../core/errors.ts';
import type { RawHeaders } from '../core/headers.ts';
import { MiB } from '../core/units.ts';
import { AnswerBody } from './answer-body.ts';
import { checkCoding, checkStatus, upstreamError } from './upstream-error.ts';

/** A request of the gateway's own. */
export interface Question {
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly target: string;
  /** Names and values in turn. */
  readonly headers: readonly string[];
  readonly body: string | null;
  /** For the whole answer; 0 = for ever. */
  readonly timeoutMs: number;
}

/** An answer that was asked for by the gateway itself. */
export interface Fetched {
  readonly status: number;
  /** Names and values in turn, as they came. */
  readonly headers: readonly string[];
  readonly body: Buffer;
}

/** The most that is read of an answer to a request of our own: a page of 1,000 image records is about 2 MiB. */
const mostFetchedBytes = 64 * MiB;

/**
 * Asks and reads the answer whole.
 * @throws GatewayError of source `upstream`: `upstream-unreachable`, `-connect-timeout`, `-timeout`, `-lost`, `-invalid`.
 */
export async function ask(dispatcher: Dispatcher, question: Question): Promise<Fetched> {
  const { method, target, headers, body, timeoutMs } = question;
  try {
    const answer = await dispatcher.request({
      method,
      path: target,
      headers: [...headers],
      body,
      responseHeaders: 'raw',
      onInfo: (info) => checkStatus(info.statusCode),
      ...(timeoutMs > 0 && { signal: AbortSignal.timeout(timeoutMs) }),
    });
    return await readWhole({
      status: answer.statusCode,
      headers: rawList(answer.headers),
      body: answer.body,
    });
  } catch (error) {
    throw upstreamError(error);
  }
}

/**
 * Reads an answer to its end.
 * @throws GatewayError `upstream-timeout`, `-lost`, `-invalid`.
 */
export async function readWhole({
  status,
  headers,
  body,
}: {
  readonly status: number;
  readonly headers: RawHeaders;
  readonly body: AsyncIterable<Buffer>;
}): Promise<Fetched> {
  try {
    const here = body instanceof AnswerBody ? body.takeWhole() : null;
    const whole = here ?? (await gathered(body));
    checkStatus(status);
    checkCoding(headers);
    return { status, headers, body: whole };
  } catch (error) {
    throw upstreamError(error);
  }
}

async function gathered(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of body) {
    bytes += piece.length;
    if (bytes > mostFetchedBytes)
      throw new GatewayError('upstream-invalid', 'The answer of the API is too long.');
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** The body as JSON, null where it is none. */
export function parsedJson({ body }: Fetched): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return null;
  }
}

/** undici's types say "object of headers" for what `responseHeaders: 'raw'` makes a flat list. */
export function rawList(headers: unknown): string[] {
  if (!Array.isArray(headers)) throw new Error('undici gave no raw list of headers');
  return headers.map((text: unknown) => (Buffer.isBuffer(text) ? text.toString('latin1') : String(text)));
}
