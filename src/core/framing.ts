import { GatewayError } from './errors.ts';

/** How the end of a request's body is told (RFC 9112 §6.3). */
export type BodyFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly bytes: number }
  | { readonly kind: 'chunked' };

export interface FramingHead {
  /** As Node gives them: name, value, name, value. */
  readonly rawHeaders: readonly string[];
  /** `1.0` or `1.1`. */
  readonly httpVersion: string;
}

const noBody: BodyFraming = { kind: 'none' };
const chunkedBody: BodyFraming = { kind: 'chunked' };

/**
 * Reads the framing of a request, more strictly than RFC 9112 allows us to be lenient: whatever two servers
 * have ever read in two ways is refused.
 * @throws GatewayError `length-invalid` if Content-Length is not one decimal number up to 2^53 - 1, or stands
 *   twice, even with equal values; `request-invalid` if it stands beside Transfer-Encoding, if the latter is empty or comes
 *   with HTTP/1.0, or for another version of HTTP; `coding-unsupported` for any Transfer-Encoding but `chunked`.
 */
export function bodyFraming({ rawHeaders, httpVersion }: FramingHead): BodyFraming {
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    throw new GatewayError('request-invalid', 'The version of HTTP is neither 1.0 nor 1.1.');
  }
  let lengths = 0;
  let length = '';
  let codings = 0;
  let coding = '';
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] ?? '').toLowerCase();
    if (name === 'content-length') {
      lengths += 1;
      length = rawHeaders[i + 1] ?? '';
    } else if (name === 'transfer-encoding') {
      codings += 1;
      coding = rawHeaders[i + 1] ?? '';
    }
  }
  if (codings > 0) {
    // RFC 9112 §6.1: the two together, and the coding in HTTP/1.0, are signs of request smuggling
    if (lengths > 0)
      throw new GatewayError('request-invalid', 'Content-Length stands beside Transfer-Encoding.');
    if (httpVersion === '1.0')
      throw new GatewayError('request-invalid', 'HTTP/1.0 has no Transfer-Encoding.');
    // as newer parsers of Node's say of it themselves
    if (codings === 1 && coding.trim() === '') {
      throw new GatewayError('request-invalid', 'Transfer-Encoding names no coding.');
    }
    if (codings > 1 || coding.toLowerCase() !== 'chunked') {
      throw new GatewayError('coding-unsupported', 'The one transfer coding that is understood is chunked.');
    }
    return chunkedBody;
  }
  if (lengths === 0) return noBody;
  if (lengths > 1) throw new GatewayError('length-invalid', 'Content-Length stands more than once.');
  return { kind: 'length', bytes: parseBytes(length, 'Content-Length') };
}

/**
 * What a client says about the length of an upload before sending it.
 * `declaredBytes` is a promise that the forwarding side enforces, and goes upstream as Content-Length; 0 is a
 * legitimate upload of nothing. Null means unknown: chunked, and no size header.
 */
export interface UploadLength {
  readonly declaredBytes: number | null;
}

/**
 * @param sizeHeaderValue the value of the profile's size header; several fields joined with commas, which
 *   makes them no number.
 * @throws GatewayError `length-invalid` if the size header is not one decimal number up to 2^53 - 1;
 *   `size-mismatch` if it differs from Content-Length, or is not 0 though there is no body.
 */
export function uploadLength(framing: BodyFraming, sizeHeaderValue: string | undefined): UploadLength {
  const sizeBytes = sizeHeaderValue === undefined ? null : parseBytes(sizeHeaderValue, 'The size header');
  if (framing.kind === 'chunked') return { declaredBytes: sizeBytes };
  const bodyBytes = framing.kind === 'length' ? framing.bytes : 0;
  if (sizeBytes !== null && sizeBytes !== bodyBytes) {
    throw new GatewayError(
      'size-mismatch',
      `The size header says ${sizeBytes} bytes, the body has ${bodyBytes}.`,
    );
  }
  return { declaredBytes: bodyBytes };
}

function parseBytes(value: string, header: string): number {
  const bytes = /^[0-9]+$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(bytes)) {
    throw new GatewayError('length-invalid', `${header} is not one decimal number up to 2^53 - 1.`);
  }
  return bytes;
}
