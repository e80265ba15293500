import { GatewayError } from './errors.ts';

/**
 * A request target in origin-form (RFC 9112 §3.2.1) that has one reading only: no dot segments, no empty
 * segments but a last one, nothing percent-encoded that need not be or that would move a segment's border.
 */
export interface RequestTarget {
  /** Between the slashes, percent-encoding as given. A trailing slash shows as an empty last segment; `/` is `['']`. */
  readonly segments: readonly string[];
  /** As given, with its leading `/`. */
  readonly path: string;
  /** As given, with its leading `?`; empty where there is none. */
  readonly query: string;
}

// RFC 3986 §3.3: pchar and `/`
const validPath = /^\/(?:[\w\-.~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*$/;
// wider than RFC 3986 §3.4, because clients send quotes, brackets and a bare `%` in queries: printable ASCII but `#`
const validQuery = /^[!-"$-~]*$/;
// RFC 3986 §6.2.2.2 wants unreserved characters plain; an encoded slash, backslash or control splits servers' opinions
const ambiguousEncoding = /%(?:[01]|2[def]|3\d|4[1-9a-f]|5[\dacf]|6[1-9a-f]|7[\daef])/i;
// `..;x` is a dot segment to servers that drop parameters first
const dotSegment = /\/\.{1,2}(?:[/;]|$)/;

/**
 * Reads a request target as it stood in the request line.
 * @throws GatewayError `target-invalid` if it is not a path with a query, or holds characters or percent
 *   signs that a path may not hold; `target-ambiguous` if servers may take it for another path.
 */
export function parseTarget(target: string): RequestTarget {
  const queryStart = target.indexOf('?');
  const path = queryStart === -1 ? target : target.slice(0, queryStart);
  const query = queryStart === -1 ? '' : target.slice(queryStart);
  if (!validPath.test(path)) {
    throw new GatewayError(
      'target-invalid',
      'The request target is not a path, or its path holds what no path may hold.',
    );
  }
  if (!validQuery.test(query)) {
    throw new GatewayError('target-invalid', 'The query holds a character that a query may not hold.');
  }
  if (path.includes('//')) throw new GatewayError('target-ambiguous', 'The path holds an empty segment.');
  if (dotSegment.test(path)) throw new GatewayError('target-ambiguous', 'The path holds a dot segment.');
  if (path.includes('%')) refuseAmbiguousEncoding(path);
  return { segments: path.slice(1).split('/'), path, query };
}

function refuseAmbiguousEncoding(path: string): void {
  if (ambiguousEncoding.test(path)) {
    throw new GatewayError(
      'target-ambiguous',
      'The path holds a percent-encoded letter, digit, dot, slash, backslash or control character.',
    );
  }
  try {
    decodeURIComponent(path);
  } catch (cause) {
    // overlong forms are other spellings of plain characters to decoders that let them through
    throw new GatewayError('target-ambiguous', 'The percent-encoded bytes of the path are not UTF-8.', {
      cause,
    });
  }
}
