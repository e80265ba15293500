// Headers are Node's flat raw list (name, value, name, value) in and out, so that order, case and duplicates
// survive. The API may sit behind uWSGI, which hands `X_Auth_Token` and `X-Auth-Token` to it as one header:
// names with an underscore are never sent on, as in nginx's `underscores_in_headers off`.
import { GatewayError } from './errors.ts';
import { viaWith } from './via.ts';

/** A flat list: name, value, name, value. */
export type RawHeaders = readonly string[];

export interface RequestHeaderOptions {
  readonly method: string;
  /** True if the peer may say who the user is. */
  readonly trustIdentity: boolean;
  /** True if the peer may bring the token of a service: it makes expired tokens valid, so nobody else may. */
  readonly trustServiceToken: boolean;
  /** Further names, in lower case, that carry identity here, e.g. those of the configuration. */
  readonly identityNames: ReadonlySet<string>;
  /** The profile's size header, in lower case: it is accounted by, so `Connection` may not take it away. */
  readonly sizeHeader: string | null;
}

/** Apache's default is 100 and Node hides what is beyond 2,000; the longest head of an OpenStack client has about 20. */
export const maxHeaders = 200;

// RFC 9110 §7.6.1, and the proxies' own of RFC 9110 §11.7
const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  // RFC 7540 §3.2.1: of the hop whether Connection names it or not
  'http2-settings',
]);

// what keystonemiddleware's auth_token sets, and Glance believes where that filter does not run
const identityNames: ReadonlySet<string> = new Set([
  'x-identity-status',
  'x-service-identity-status',
  'x-service-catalog',
  'x-is-admin-project',
  'openstack-system-scope',
  ...['x-', 'x-service-'].flatMap((prefix) =>
    ['user', 'project', 'user-domain', 'project-domain', 'domain']
      .flatMap((noun) => [`${noun}-id`, `${noun}-name`])
      .concat('roles')
      .map((name) => prefix + name),
  ),
  'x-role',
  'x-user',
  'x-tenant-id',
  'x-tenant-name',
  'x-tenant',
]);

// the gateway writes these itself, or they are a second way to say what the request line says
const ownedNames: ReadonlySet<string> = new Set([
  'content-length',
  'expect',
  'forwarded',
  'x-real-ip',
  'via',
  'traceparent',
  'tracestate',
  'x-openstack-request-id',
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
  'http-method-override',
]);

// `Connection` may take away what belongs to the hop. Who, what and how much is not of the hop.
const neverOfTheHop: ReadonlySet<string> = new Set([
  ...identityNames,
  ...ownedNames,
  'host',
  'content-type',
  'content-encoding',
  'content-range',
  'transfer-encoding',
  'range',
  'accept',
  'authorization',
  'cookie',
  'origin',
  'x-auth-token',
  'x-storage-token',
  'x-service-token',
  'x-image-meta-store',
  'x-forwarded-for',
]);

/**
 * The client's headers as they go upstream. Left out, for the caller to write anew: everything of the hop,
 * Content-Length, Transfer-Encoding, Expect, Forwarded, X-Forwarded-*, X-Real-IP, X-OpenStack-Request-ID, Via,
 * traceparent, tracestate.
 * Left out for good: names with an underscore, method overrides, `X-Image-Meta-*` but `-Store`, Content-Range
 * on GET and HEAD, and, unless the peer is trusted, all that says who the user is. Host and the rest stay as
 * they are.
 * @throws GatewayError `header-invalid` if `Connection` names a header that the gateway or the API goes by:
 *   dropping it would change what was accounted for.
 */
export function requestHeaders(raw: RawHeaders, options: RequestHeaderOptions): string[] {
  const named = connectionNames(raw);
  if (named !== null) refuseHidingConnection(named, options);
  const bodiless = options.method === 'GET' || options.method === 'HEAD';
  const kept: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const lower = name.toLowerCase();
    if (hopByHop.has(lower) || ownedNames.has(lower) || lower.includes('_')) continue;
    if (named?.has(lower)) continue;
    if (lower.startsWith('x-forwarded-')) continue;
    if (lower.startsWith('x-image-meta-') && lower !== 'x-image-meta-store') continue;
    if (bodiless && lower === 'content-range') continue;
    if (lower === 'x-service-token' && !options.trustServiceToken) continue;
    if (!options.trustIdentity && (identityNames.has(lower) || options.identityNames.has(lower))) continue;
    kept.push(name, raw[i + 1] ?? '');
  }
  return kept;
}

function refuseHidingConnection(named: ReadonlySet<string>, options: RequestHeaderOptions): void {
  for (const name of named) {
    if (neverOfTheHop.has(name) || name === options.sizeHeader || options.identityNames.has(name)) {
      throw new GatewayError('header-invalid', 'Connection names a header that is not of the connection.');
    }
  }
}

/**
 * The API's headers as they go to the client, without everything of the hop, and with our entry in `Via`.
 * @param options.contentLength false drops Content-Length, for an answer that is framed anew.
 */
export function responseHeaders(raw: RawHeaders, options: { readonly contentLength: boolean }): string[] {
  const named = connectionNames(raw);
  const kept: string[] = [];
  let via: string | undefined;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const value = raw[i + 1] ?? '';
    const lower = name.toLowerCase();
    if (lower === 'content-length') {
      // `Connection: Content-Length` must not unframe the answer
      if (!options.contentLength) continue;
    } else if (hopByHop.has(lower) || named?.has(lower)) continue;
    if (lower === 'via') via = via === undefined ? value : `${via}, ${value}`;
    else kept.push(name, value);
  }
  kept.push('Via', viaWith(via, '1.1'));
  return kept;
}

/** The names that `Connection` lists, in lower case; null where it lists none but the usual words. */
function connectionNames(raw: RawHeaders): Set<string> | null {
  let names: Set<string> | null = null;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] ?? '';
    if (name.length !== 10 || name.toLowerCase() !== 'connection') continue;
    for (const token of (raw[i + 1] ?? '').toLowerCase().split(',')) {
      const option = token.trim();
      if (option === '' || option === 'close' || option === 'keep-alive') continue;
      names ??= new Set();
      names.add(option);
    }
  }
  return names;
}

/**
 * The value of a header that may stand once; undefined where it does not stand.
 * @param name in lower case
 * @throws GatewayError `header-invalid` if it stands more than once.
 */
export function headerValue(raw: RawHeaders, name: string): string | undefined {
  let found: string | undefined;
  for (let i = 0; i < raw.length; i += 2) {
    if (!isNamed(raw[i], name)) continue;
    if (found !== undefined)
      throw new GatewayError('header-invalid', `The header ${name} stands more than once.`);
    found = raw[i + 1] ?? '';
  }
  return found;
}

/**
 * All values of a header that may stand more than once, joined with `, ` as the API's server does it.
 * @param name in lower case
 */
export function joinedHeader(raw: RawHeaders, name: string): string | undefined {
  let joined: string | undefined;
  for (let i = 0; i < raw.length; i += 2) {
    if (!isNamed(raw[i], name)) continue;
    const value = raw[i + 1] ?? '';
    joined = joined === undefined ? value : `${joined}, ${value}`;
  }
  return joined;
}

/**
 * How often a header stands.
 * @param name in lower case
 */
export function countHeaders(raw: RawHeaders, name: string): number {
  let count = 0;
  for (let i = 0; i < raw.length; i += 2) if (isNamed(raw[i], name)) count += 1;
  return count;
}

const isNamed = (given: string | undefined, name: string): boolean =>
  given !== undefined && given.length === name.length && given.toLowerCase() === name;

// RFC 9110 §5.5: field content is visible characters, space, tab and obs-text
const oddValue = /[^\t -~\x80-\xff]/;
const validHost = /^(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;

/** RFC 1035 §2.3.4, with brackets and a port to it. */
const longestHost = 263;

/** Whether a text is a host with an optional port, no longer than a name may be. */
export const isHost = (text: string): boolean => text.length <= longestHost && validHost.test(text);

/**
 * Refuses a head that cannot be passed on as it stands.
 * @throws GatewayError `headers-too-large` beyond `maxHeaders`; `header-invalid` for control characters in a
 *   value; `request-invalid` if Host stands twice, is not a host with an optional port, or is missing in HTTP/1.1;
 *   `expectation-unsupported` if Expect says anything but `100-continue` there.
 */
export function checkHeaders(raw: RawHeaders, httpVersion: string): void {
  if (raw.length > 2 * maxHeaders) {
    throw new GatewayError('headers-too-large', `The request has more than ${maxHeaders} headers.`);
  }
  let hosts = 0;
  for (let i = 0; i < raw.length; i += 2) {
    const value = raw[i + 1] ?? '';
    if (oddValue.test(value)) {
      throw new GatewayError('header-invalid', 'A header holds a control character.');
    }
    if (!isNamed(raw[i], 'host')) continue;
    hosts += 1;
    if (!isHost(value)) throw new GatewayError('request-invalid', 'Host is not a host and a port.');
  }
  if (hosts > 1) throw new GatewayError('request-invalid', 'Host stands more than once.');
  // HTTP/1.0 knows neither of the two
  if (httpVersion === '1.0') return;
  if (hosts === 0) throw new GatewayError('request-invalid', 'Host is missing.');
  const expectation = joinedHeader(raw, 'expect')?.toLowerCase() ?? '100-continue';
  if (expectation !== '100-continue') {
    throw new GatewayError('expectation-unsupported', 'Expect names something else than 100-continue.');
  }
}

/** What `raw` says with the fields of `changed` in place of its own of the same names. */
export function replacedHeaders(raw: RawHeaders, changed: RawHeaders): string[] {
  const names = new Set<string>();
  for (let i = 0; i < changed.length; i += 2) names.add((changed[i] ?? '').toLowerCase());
  const result: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] ?? '';
    if (!names.has(name.toLowerCase())) result.push(name, raw[i + 1] ?? '');
  }
  result.push(...changed);
  return result;
}

/**
 * The client's own X-OpenStack-Request-ID, if it is one that may go into logs and upstream; else null, and the
 * caller makes one. 64 characters are Glance's `max_request_id_length`.
 */
export function requestId(raw: RawHeaders): string | null {
  if (countHeaders(raw, 'x-openstack-request-id') !== 1) return null;
  const id = headerValue(raw, 'x-openstack-request-id') ?? '';
  return /^[A-Za-z0-9._-]{1,64}$/.test(id) ? id : null;
}

/** The longest request id of the API's own that is taken into the log; the rest of a longer one is cut off. */
export const longestLoggedId = 128;

/** The X-OpenStack-Request-ID that the API gave its answer; null where it gave none. */
export function answeredRequestId(raw: RawHeaders): string | null {
  return joinedHeader(raw, 'x-openstack-request-id')?.slice(0, longestLoggedId) || null;
}
