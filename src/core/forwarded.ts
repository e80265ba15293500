import { isAddress, plainAddress } from './address.ts';
import { isHost, joinedHeader, type RawHeaders } from './headers.ts';

export type Scheme = 'http' | 'https';

/** The connection that a request came by. */
export interface Hop {
  /**
   * The peer's address, `unix` for a unix socket; undefined (one already gone) counts as `unknown`. Anything that is no
   * address is `unknown` in what goes upstream.
   */
  readonly peerAddress: string | undefined;
  readonly scheme: Scheme;
}

export interface Forwarded {
  /** Who sent the request, as far as trusted peers tell: for logs, limits per address and the registry. */
  readonly clientAddress: string;
  /** X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host and Forwarded as they go upstream: a flat raw list. */
  readonly fields: readonly string[];
}

/** Of a list only so many entries are read, from its right end, our own hop not counted. */
export const maxForwardedEntries = 50;

/** Of a list only so many characters are read, from its right end. An entry that is cut by this is not read. */
export const maxForwardedLength = 4_096;

/**
 * Finds the client behind proxies that we trust, and says the same of it in both families of headers.
 *
 * A list is read from its right end, where the nearest proxy wrote, and only as long as trusted proxies wrote it: the
 * first address that is not trusted is the client. What stands left of it is the client's own claim and is not sent
 * on. An entry that is not a plain address (a name, `unknown`; a port in X-Forwarded-For) ends the walk at the proxy
 * that wrote it. Of scheme and host, X-Forwarded-Proto and -Host give their last entry, `Forwarded` the word of
 * the outermost trusted proxy that has one; what is no scheme or no host counts as not said.
 *
 * `Forwarded` is read only where no X-Forwarded-For, -Proto or -Host stands: proxies that write these mostly do not
 * know `Forwarded` and let the client's own through.
 * @param isTrusted is asked for IPv4 in dotted form, IPv6 without zone, and, of the peer only, `unix` and `unknown`
 */
export function forwarded(
  raw: RawHeaders,
  { peerAddress, scheme }: Hop,
  isTrusted: (address: string) => boolean,
): Forwarded {
  const peer = plainAddress(peerAddress ?? 'unknown');
  const told = isTrusted(peer) ? toldByProxies(raw, isTrusted) : toldNothing;
  const requestHost = joinedHeader(raw, 'host');
  const host = told.host ?? requestHost ?? null;
  const proto = told.scheme ?? scheme;
  // from here on the client's end comes first, as in the headers
  const chain = [...told.addresses].reverse().concat(isAddress(peer) ? peer : 'unknown');
  // Host goes on as it came. Repeated here, a port would put it in quotes, which oslo.middleware takes for part of the name
  const hostSaid = host === null || host === requestHost ? '' : `;host=${quoted(host)}`;
  const elements = chain.map((address, i) => {
    const node = address.includes(':') ? `"[${address}]"` : address;
    if (i === 0) return `for=${node}${hostSaid};proto=${proto}`;
    return i === chain.length - 1 ? `for=${node};proto=${scheme}` : `for=${node}`;
  });
  const fields = ['X-Forwarded-For', chain.join(', '), 'X-Forwarded-Proto', proto];
  if (host !== null) fields.push('X-Forwarded-Host', host);
  fields.push('Forwarded', elements.join(', '));
  return { clientAddress: told.addresses.at(-1) ?? peer, fields };
}

/** What trusted proxies say; null = they do not. */
interface Told {
  /** Nearest first: of proxies, and of the client at the end. */
  readonly addresses: readonly string[];
  readonly scheme: Scheme | null;
  readonly host: string | null;
}

const toldNothing: Told = { addresses: [], scheme: null, host: null };

function toldByProxies(raw: RawHeaders, isTrusted: (address: string) => boolean): Told {
  const xFor = joinedHeader(raw, 'x-forwarded-for');
  const xProto = joinedHeader(raw, 'x-forwarded-proto');
  const xHost = joinedHeader(raw, 'x-forwarded-host');
  if (xFor === undefined && xProto === undefined && xHost === undefined) {
    return toldInElements(joinedHeader(raw, 'forwarded') ?? '', isTrusted);
  }
  const addresses: string[] = [];
  for (const entry of fromTheRight(xFor ?? '')) {
    const address = plainAddress(entry);
    if (!isAddress(address)) break;
    addresses.push(address);
    if (!isTrusted(address)) break;
  }
  return { addresses, scheme: schemeOf(lastOf(xProto)), host: hostOf(lastOf(xHost)) };
}

function toldInElements(list: string, isTrusted: (address: string) => boolean): Told {
  const addresses: string[] = [];
  let scheme: Scheme | null = null;
  let host: string | null = null;
  for (const entry of fromTheRight(list)) {
    const element = elementOf(entry);
    if (element === null) break;
    scheme = schemeOf(element.get('proto')) ?? scheme;
    host = hostOf(element.get('host')) ?? host;
    const address = addressOf(element.get('for') ?? '');
    if (address === null) break;
    addresses.push(address);
    if (!isTrusted(address)) break;
  }
  return { addresses, scheme, host };
}

/** The entries of a list from right to left, trimmed, within the bounds of what is read. */
function* fromTheRight(list: string): Generator<string> {
  const start = Math.max(0, list.length - maxForwardedLength);
  let end = list.length;
  for (let count = 0; count < maxForwardedEntries && end >= start; count += 1) {
    const comma = list.lastIndexOf(',', end - 1);
    // to lastIndexOf -1 is 0: it would find the comma before an empty first entry again and again
    if (end === 0 || comma + 1 < start) return;
    yield list.slice(comma + 1, end).trim();
    end = comma;
  }
}

const lastOf = (list: string | undefined): string | undefined =>
  list?.slice(list.lastIndexOf(',') + 1).trim();

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
// no quoted pairs and no commas in quotes: no address, host or scheme needs them, and a list may be cut at any comma
const pair = new RegExp(`^(${token})=(?:(${token})|"([^"\\\\]*)")$`);

/** RFC 7239 §4: pairs with semicolons, no name twice. Null if it is anything else. */
function elementOf(text: string): ReadonlyMap<string, string> | null {
  const element = new Map<string, string>();
  for (const part of text.split(';')) {
    const [, name, plain, inQuotes] = pair.exec(part.trim()) ?? [];
    if (name === undefined || element.has(name.toLowerCase())) return null;
    element.set(name.toLowerCase(), plain ?? inQuotes ?? '');
  }
  return element;
}

/** RFC 7239 §6: IPv6 stands in brackets, a port may follow. Null for `unknown`, made-up names and all else. */
function addressOf(node: string): string | null {
  const [, v6, v4] = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[\w.-]+)?$/.exec(node) ?? [];
  const address = plainAddress(v6 ?? v4 ?? '');
  return isAddress(address) ? address : null;
}

function schemeOf(text: string | undefined): Scheme | null {
  const lower = text?.toLowerCase();
  return lower === 'http' || lower === 'https' ? lower : null;
}

const hostOf = (text: string | undefined): string | null =>
  text !== undefined && isHost(text) ? text : null;

const quoted = (host: string): string => (/[^\w.-]/.test(host) ? `"${host}"` : host);
