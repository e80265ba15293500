import type { Ending } from './endings.ts';

/** Whose doing an error was. */
export type ErrorSource = 'client' | 'gateway' | 'upstream' | 'operator';

interface ErrorKind {
  readonly status: number;
  readonly source: ErrorSource;
  /** True when the same request may succeed later without being changed: the answer then carries `Retry-After`. */
  readonly retryable: boolean;
  /** The `title` of the problem document: what went wrong, the same sentence for every occurrence. */
  readonly title: string;
}

const kind = (status: number, source: ErrorSource, title: string, retryable = false): ErrorKind =>
  Object.freeze({ status, source, retryable, title });

/**
 * Every answer that Sluice makes itself. `docs/errors.md` explains each one to operators; a test
 * holds the two lists against each other. Nothing else in `src/` states a status of an error.
 */
export const errorKinds = {
  'target-invalid': kind(400, 'client', 'The request target is not a path of this server'),
  'target-ambiguous': kind(400, 'client', 'The request target has more than one reading'),
  'method-unsupported': kind(501, 'client', 'No server behind this gateway offers this method'),
  'method-override': kind(400, 'client', 'A method override in the query is not accepted'),
  'version-in-accept': kind(400, 'client', 'An API version in Accept is not accepted'),
  'image-id-not-canonical': kind(400, 'client', 'The image id is not in its canonical form'),
  'image-id-malformed': kind(404, 'client', 'No image can have this id'),
  'route-forbidden': kind(403, 'client', 'This operation is not offered here'),
  'request-invalid': kind(400, 'client', 'The request is not well-formed HTTP'),
  'loop-detected': kind(508, 'operator', 'The request came to this gateway before'),
  'header-invalid': kind(400, 'client', 'A header of the request cannot be accepted'),
  'headers-too-large': kind(431, 'client', 'The head of the request is too large'),
  'header-timeout': kind(408, 'client', 'The head of the request did not arrive in time'),
  'expectation-unsupported': kind(417, 'client', 'Only the expectation 100-continue is supported'),
  'coding-unsupported': kind(501, 'client', 'This transfer coding is not supported'),
  'upgrade-refused': kind(400, 'client', 'A protocol upgrade is not offered on this route'),
  'length-invalid': kind(400, 'client', 'The declared size is not a size'),
  'size-mismatch': kind(400, 'client', 'The body does not have the declared size'),
  'body-invalid': kind(400, 'client', 'The body is not framed as HTTP demands'),
  'body-too-large': kind(413, 'client', 'The body of the request is larger than it may be'),
  'body-not-json': kind(400, 'client', 'The body is not JSON that everybody reads alike'),
  'import-invalid': kind(400, 'client', 'The import call does not say what to import'),
  'import-refused': kind(403, 'client', 'This way of bringing in data is not offered here'),
  'identity-missing': kind(401, 'client', 'The request does not say who pays for the upload'),
  'token-missing': kind(401, 'client', 'The request has no token'),
  'token-invalid': kind(401, 'client', 'The token is not valid'),
  'identity-unavailable': kind(503, 'upstream', 'The identity service does not say whose the token is', true),
  'owner-missing': kind(403, 'client', 'Nobody would pay for the upload'),
  'image-busy': kind(409, 'client', 'The image is being filled or changed', true),
  'owner-fixed': kind(403, 'client', 'The owner of an image is not changed here'),
  'token-restricted': kind(403, 'client', 'The token may not ask what the gateway has to know'),
  'image-foreign': kind(403, 'client', 'The image belongs to another project'),
  'credentials-refused': kind(401, 'client', 'The API refused the credentials of the request'),
  'client-gone': kind(400, 'client', 'The client closed the connection before its body was complete'),
  'client-stalled': kind(408, 'client', 'The client sent nothing for too long'),
  'client-too-slow': kind(408, 'client', 'The client sent its body too slowly'),
  'too-large': kind(413, 'client', 'The upload is larger than any upload may be'),
  'quota-exceeded': kind(413, 'client', 'The upload does not fit in the quota'),
  'saving-exceeded': kind(413, 'client', 'Too many bytes are being uploaded at once', true),
  'rate-exceeded': kind(429, 'client', 'Too many requests came in too short a time', true),
  'uploads-exceeded': kind(429, 'client', 'Too many uploads are under way at once', true),
  'image-deleted': kind(410, 'client', 'The image was deleted during the upload'),
  cancelled: kind(409, 'operator', 'An operator cancelled the upload'),
  'shutting-down': kind(503, 'operator', 'The gateway is shutting down', true),
  'usage-unavailable': kind(503, 'upstream', 'The API does not say how much is stored', true),
  'limits-unavailable': kind(503, 'upstream', 'The cloud does not say how much may be stored', true),
  'upstream-unreachable': kind(502, 'upstream', 'No connection to the API could be made', true),
  'upstream-connect-timeout': kind(504, 'upstream', 'The API did not accept a connection in time', true),
  'upstream-lost': kind(502, 'upstream', 'The API closed the connection before it answered'),
  'upstream-invalid': kind(502, 'upstream', 'The answer of the API is not well-formed HTTP'),
  'upstream-stalled': kind(504, 'upstream', 'The API stopped taking the body'),
  'upstream-timeout': kind(504, 'upstream', 'The API did not answer in time'),
  internal: kind(500, 'gateway', 'The gateway made a mistake'),
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorKinds;

/**
 * What a problem document may say beyond its code. All numbers are bytes, but uploads for `uploads-exceeded` and
 * requests for `rate-exceeded`.
 */
export interface ErrorFacts {
  readonly requested?: number;
  readonly remaining?: number;
  readonly limit?: number;
  /** The account whose limit was met, as `project:ID` or `user:ID`. */
  readonly account?: string;
}

/** Seconds a client is told to wait where waiting may help. */
const retryAfterSeconds = 5;

/**
 * Something that ends a request with an answer of ours. Thrown by every phase of an exchange and
 * turned into an answer in one place. Anything else that is thrown is a bug and becomes `internal`.
 */
export class GatewayError extends Error {
  override readonly name = 'GatewayError';
  readonly code: ErrorCode;
  readonly status: number;
  readonly source: ErrorSource;
  readonly retryAfterSeconds: number | null;
  /** How the upload under way ended, where one was. */
  readonly ending: Ending | null;
  readonly facts: ErrorFacts;
  /** Further headers of the answer, names and values in turn. */
  readonly headers: readonly string[];

  /**
   * @param detail one sentence about this occurrence: what was wrong and where. It is sent to the
   *   client, so it holds nothing that the client did not say itself or may not know.
   * @param more.retryAfterSeconds where more is known than that waiting may help; whole, at least 1.
   */
  constructor(
    code: ErrorCode,
    detail: string,
    more: {
      readonly ending?: Ending;
      readonly facts?: ErrorFacts;
      readonly cause?: unknown;
      readonly retryAfterSeconds?: number;
      readonly headers?: readonly string[];
    } = {},
  ) {
    super(detail, more.cause === undefined ? undefined : { cause: more.cause });
    const { status, source, retryable } = errorKinds[code];
    this.code = code;
    this.status = status;
    this.source = source;
    this.retryAfterSeconds = more.retryAfterSeconds ?? (retryable ? retryAfterSeconds : null);
    this.ending = more.ending ?? null;
    this.facts = more.facts ?? {};
    this.headers = more.headers ?? [];
  }

  /** The form that OpenStack's services and clients give an error. */
  openstackError(): Record<string, unknown> {
    return { code: this.status, title: errorKinds[this.code].title, message: this.message };
  }

  /** The RFC 9457 document that tells the client. */
  problem(): Record<string, unknown> {
    return {
      type: `urn:sluice:error:${this.code}`,
      title: errorKinds[this.code].title,
      status: this.status,
      code: this.code,
      detail: this.message,
      ...this.facts,
      // where OpenStack's clients look (keystoneauth, openstacksdk)
      ...(this.status === 401 && { error: this.openstackError() }),
    };
  }
}
