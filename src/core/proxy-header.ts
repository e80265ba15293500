import { ipv6Groups, isAddress, isIpv4, mappedIpv4, writeIpv6 } from './address.ts';

// The header of the PROXY protocol, by which a balancer that passes connections on as they are says whose they are:
// https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, sections cited below. Version 1 is a line of text, version
// 2 is binary. Read from what has arrived so far, as often as needed; never a byte beyond the header is looked at.

/** The longest line of version 1, its end included (§2.1). */
export const mostTextBytes = 107;

/** What every header of version 2 begins with, the length of the rest included (§2.2). */
export const binaryHeadBytes = 16;

/**
 * The longest rest of a header of version 2. It is addresses (216 bytes at most) and whatever the balancer adds. The
 * standard asks for 536 bytes in all at the least; a client's certificate among the additions needs some KiB.
 */
export const mostBinaryRestBytes = 4_096;

export type ProxyHeader =
  /** More has to arrive. */
  | { readonly state: 'incomplete' }
  | { readonly state: 'invalid'; readonly reason: string }
  | {
      readonly state: 'whole';
      /** How long the header is: what comes after belongs to the connection. */
      readonly bytes: number;
      /** Whose connection it is, IPv4 in dotted form; null where the balancer names nobody that has an address. */
      readonly client: string | null;
    };

const incomplete: ProxyHeader = { state: 'incomplete' };

const invalid = (reason: string): ProxyHeader => ({ state: 'invalid', reason });

const signature = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
const textStart = [...'PROXY '].map((letter) => letter.charCodeAt(0));

/** Reads the header at the start of a connection. Never throws, whatever has arrived. */
export function readProxyHeader(received: Uint8Array): ProxyHeader {
  if (startsLike(received, textStart)) return readText(received);
  if (startsLike(received, signature)) return readBinary(received);
  return invalid('the connection does not begin with a PROXY header');
}

/** True also where less has arrived, and that is right so far. */
const startsLike = (received: Uint8Array, start: readonly number[]): boolean =>
  start.every((byte, i) => i >= received.length || received[i] === byte);

const port = '(?:0|[1-9]\\d{0,4})';
const line = new RegExp(`^PROXY TCP([46]) (\\S+) (\\S+) (${port}) (${port})$`);

/** §2.1. */
function readText(received: Uint8Array): ProxyHeader {
  const text = String.fromCharCode(...received.subarray(0, mostTextBytes));
  const end = text.indexOf('\r\n');
  if (end < 0) return text.length < mostTextBytes ? incomplete : invalid('the line is too long');
  const bytes = end + 2;
  // whatever follows the word is to be ignored
  if (/^PROXY UNKNOWN(?: |$)/.test(text.slice(0, end))) return { state: 'whole', bytes, client: null };
  const [, family, source = '', target = '', ...ports] = line.exec(text.slice(0, end)) ?? [];
  const isOfFamily =
    family === '4' ? isIpv4 : (address: string) => address.includes(':') && isAddress(address);
  if (family === undefined || !isOfFamily(source) || !isOfFamily(target) || !ports.every(isPort)) {
    return invalid('the line is not one of the PROXY protocol');
  }
  return { state: 'whole', bytes, client: family === '4' ? source : writeIpv6(ipv6Groups(source)) };
}

const isPort = (digits: string): boolean => Number(digits) <= 65_535;

/** How long the addresses are, by family: none, IPv4, IPv6, unix (§2.2). */
const addressBytes = [0, 12, 36, 216];

/** §2.2. */
function readBinary(received: Uint8Array): ProxyHeader {
  if (received.length < binaryHeadBytes) return incomplete;
  const [versionAndCommand = 0, familyAndTransport = 0, high = 0, low = 0] = received.subarray(12);
  const command = versionAndCommand & 0x0f;
  if (versionAndCommand >> 4 !== 2 || command > 1) return invalid('the version or the command is unknown');
  const restBytes = high * 256 + low;
  if (restBytes > mostBinaryRestBytes) return invalid(`the header announces ${restBytes} bytes`);
  const bytes = binaryHeadBytes + restBytes;
  // LOCAL: the balancer itself, such as a health check; what else it says is to be ignored
  const family = command === 0 ? 0 : familyAndTransport >> 4;
  const transport = familyAndTransport & 0x0f;
  const leastBytes = addressBytes[family];
  if (leastBytes === undefined || (command === 1 && transport > 2)) return invalid('the family is unknown');
  if (restBytes < leastBytes) return invalid('the addresses are cut off');
  if (received.length < bytes) return incomplete;
  const source = received.subarray(binaryHeadBytes);
  // a datagram has no connection: whoever it names did not make this one
  if (transport !== 1) return { state: 'whole', bytes, client: null };
  if (family === 1) return { state: 'whole', bytes, client: source.subarray(0, 4).join('.') };
  if (family === 2) return { state: 'whole', bytes, client: writeIpv6(groupsOf(source.subarray(0, 16))) };
  return { state: 'whole', bytes, client: null };
}

const groupsOf = (address: Uint8Array): number[] =>
  Array.from({ length: 8 }, (_, i) => (address[2 * i] ?? 0) * 256 + (address[2 * i + 1] ?? 0));

/**
 * Whom a connection counts as after its PROXY header, for everything: limits, the log, and whose headers are believed.
 *
 * Who is not named is `unknown`, whom nobody believes, and not the balancer: it is believed for what it says of others,
 * and an unnamed client must not speak with its voice. A loopback address is one of the balancer's machine; it
 * means something here only if that is this machine.
 * @param peer the balancer, as `Client.peerAddress`.
 */
export function provenClient(client: string | null, peer: string): string {
  if (client === null || (isLoopback(client) && peer !== 'unix' && !isLoopback(peer))) return 'unknown';
  return client;
}

function isLoopback(address: string): boolean {
  if (!address.includes(':')) return address.startsWith('127.');
  const groups = ipv6Groups(address);
  const mapped = mappedIpv4(groups);
  return mapped === null ? writeIpv6(groups) === '::1' : isLoopback(mapped);
}
