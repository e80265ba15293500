import { GatewayError } from '../core/errors.ts';
import { joinedHeader, type RawHeaders } from '../core/headers.ts';

/** The API has said nothing for too long. */
export const answerLate = (more?: ErrorOptions): GatewayError =>
  new GatewayError('upstream-timeout', 'No answer in time.', more);

/** What undici throws, by its stable codes, in our words. */
export function upstreamError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const more = { cause: error };
  switch (code) {
    case 'UND_ERR_CONNECT_TIMEOUT':
      return new GatewayError('upstream-connect-timeout', 'No connection in time.', more);
    case 'UND_ERR_HEADERS_TIMEOUT':
    case 'UND_ERR_BODY_TIMEOUT':
      return answerLate(more);
    case 'ECONNREFUSED':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new GatewayError('upstream-unreachable', 'The connection was refused or cannot be made.', more);
    case 'UND_ERR_HEADERS_OVERFLOW':
      return new GatewayError('upstream-invalid', 'The head of the answer is too large.', more);
    case 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH':
    case 'UND_ERR_ABORTED':
      return new GatewayError('client-gone', 'The client closed the connection.', more);
    default: {
      if (error instanceof Error && error.name === 'TimeoutError') {
        return answerLate(more);
      }
      if (error instanceof Error && error.name === 'AbortError') {
        return new GatewayError('client-gone', 'The client closed the connection.', more);
      }
      const unparsable = error instanceof Error && error.name === 'HTTPParserError';
      if (unparsable || code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH') {
        return new GatewayError('upstream-invalid', 'The answer of the API cannot be parsed.', more);
      }
      return new GatewayError('upstream-lost', 'The API closed the connection without a whole answer.', more);
    }
  }
}

/**
 * RFC 9110 §15: a status is 100 to 599. Parsers let other numbers of three digits through, and Node cannot send all of them.
 * @throws GatewayError `upstream-invalid`, the upload then having ended as `upstream-lost`.
 */
export function checkStatus(status: number): void {
  if (status >= 100 && status <= 599) return;
  throw new GatewayError('upstream-invalid', 'The answer of the API has a status that does not exist.', {
    ending: 'upstream-lost',
  });
}

/**
 * For Node's parser, which reads any version as HTTP/1.1.
 * @throws GatewayError `upstream-invalid` for another version than 1.1 and 1.0.
 */
export function checkVersion(version: string): void {
  if (version === '1.1' || version === '1.0') return;
  const detail = 'The answer of the API does not begin as HTTP/1.1 or 1.0 does.';
  throw new GatewayError('upstream-invalid', detail, { ending: 'upstream-lost' });
}

/**
 * Refuses an answer whose body another reader would take for another one: the parsers below us undo `chunked` and let every
 * other coding stand, and what is of the hop is not sent on.
 * @throws GatewayError `upstream-invalid` for any Transfer-Encoding but `chunked`.
 */
export function checkCoding(headers: RawHeaders): void {
  const coding = joinedHeader(headers, 'transfer-encoding')?.trim().toLowerCase();
  if (coding !== undefined && coding !== 'chunked') {
    throw new GatewayError(
      'upstream-invalid',
      'The API answered with a transfer coding other than chunked.',
      {
        ending: 'upstream-lost',
      },
    );
  }
}
