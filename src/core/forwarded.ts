import { joinedHeader, type RawHeaders } from './headers.ts';

export interface Forwarded {
  /** Who sent the request, as far as trusted peers tell: for logs, limits per address and the registry. */
  readonly clientAddress: string;
  /** The X-Forwarded-For to send upstream. */
  readonly xForwardedFor: string;
}

/**
 * Finds the client behind proxies that we trust. X-Forwarded-For is read from its right end, where the nearest
 * proxy wrote, and only as long as trusted proxies wrote it: the first address that is not trusted is the
 * client. An entry that is not a plain address (a port, a name, `unknown`) ends the walk at the proxy that wrote it.
 * @param peerAddress of the connection, `unix` for a unix socket; undefined (one already gone) counts as `unknown`
 * @param isTrusted is asked for IPv4 in dotted form, IPv6 without zone, `unix` and `unknown`
 */
export function forwardedFor(
  raw: RawHeaders,
  peerAddress: string | undefined,
  isTrusted: (address: string) => boolean,
): Forwarded {
  const peer = plainAddress(peerAddress ?? 'unknown');
  const list = isTrusted(peer) ? joinedHeader(raw, 'x-forwarded-for')?.trim() : undefined;
  if (!list) return { clientAddress: peer, xForwardedFor: peer };

  let clientAddress = peer;
  let end = list.length;
  while (end >= 0) {
    const comma = list.lastIndexOf(',', end - 1);
    const entry = plainAddress(list.slice(comma + 1, end).trim());
    if (!isAddress(entry)) break;
    clientAddress = entry;
    if (!isTrusted(entry)) break;
    end = comma;
  }
  return { clientAddress, xForwardedFor: `${list}, ${peer}` };
}

/** A listener on `::` sees IPv4 clients as `::ffff:1.2.3.4`, and link-local ones with the zone they came by. */
function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
}

const ipv4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;

function isAddress(text: string): boolean {
  if (!text.includes(':')) return ipv4.test(text);
  const [head = '', tail, ...more] = text.split('::');
  if (more.length > 0) return false;
  const groups = groupsOf(head, tail === undefined) + groupsOf(tail ?? '', true);
  return tail === undefined ? groups === 8 : groups <= 7;
}

/** How many 16-bit groups a part of an IPv6 address has, NaN if it is not one; IPv4 may stand at the very end only. */
function groupsOf(part: string, atEnd: boolean): number {
  if (part === '') return 0;
  const groups = part.split(':');
  let count = 0;
  for (const [i, group] of groups.entries()) {
    if (/^[0-9A-Fa-f]{1,4}$/.test(group)) count += 1;
    else if (atEnd && i === groups.length - 1 && ipv4.test(group)) count += 2;
    else return Number.NaN;
  }
  return count;
}
