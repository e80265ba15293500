// Addresses as text: what is one, and the one form in which it is compared, counted and written down.

/** Without the IPv6 round an IPv4 client of a listener on `::`, and without the zone that a link-local one came by. */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
}

const ipv4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;

/** Four numbers from 0 to 255, without leading zeros. */
export const isIpv4 = (text: string): boolean => ipv4.test(text);

/** An IPv4 address, or an IPv6 one in any of its spellings, without zone. */
export function isAddress(text: string): boolean {
  if (!text.includes(':')) return isIpv4(text);
  const [head = '', tail, ...more] = text.split('::');
  if (more.length > 0) return false;
  const groups = countGroups(head, tail === undefined) + countGroups(tail ?? '', true);
  return tail === undefined ? groups === 8 : groups <= 7;
}

/** How many 16-bit groups a part of an IPv6 address has, NaN if it is not one; IPv4 may stand at the very end only. */
function countGroups(part: string, atEnd: boolean): number {
  if (part === '') return 0;
  const groups = part.split(':');
  let count = 0;
  for (const [i, group] of groups.entries()) {
    if (/^[0-9A-Fa-f]{1,4}$/.test(group)) count += 1;
    else if (atEnd && i === groups.length - 1 && isIpv4(group)) count += 2;
    else return Number.NaN;
  }
  return count;
}

/** The eight 16-bit groups of a well-formed IPv6 address. */
export function ipv6Groups(address: string): number[] {
  const [head = '', tail = ''] = address.split('::');
  const front = groupsOf(head);
  const back = groupsOf(tail);
  const gap = Array.from({ length: Math.max(0, 8 - front.length - back.length) }, () => 0);
  return [...front, ...gap, ...back];
}

/** The groups of a part of an IPv6 address; an IPv4 address at its end is two of them. */
function groupsOf(part: string): number[] {
  if (part === '') return [];
  return part.split(':').flatMap((group) => {
    const [a = 0, b = 0, c, d = 0] = group.split('.').map(Number);
    return c === undefined ? [Number.parseInt(group, 16)] : [a * 256 + b, c * 256 + d];
  });
}

/** The IPv4 address inside an IPv6 one (`::ffff:0:0/96`, RFC 4291 §2.5.5.2), null where there is none. */
export function mappedIpv4(groups: readonly number[]): string | null {
  const [a = 0, b = 0] = groups.slice(6);
  if (groups[5] !== 0xffff || groups.slice(0, 5).some((group) => group !== 0)) return null;
  return [a >> 8, a & 0xff, b >> 8, b & 0xff].join('.');
}

/** As RFC 5952 §4 writes an IPv6 address; one that maps an IPv4 address is written as that. */
export function writeIpv6(groups: readonly number[]): string {
  const mapped = mappedIpv4(groups);
  if (mapped !== null) return mapped;
  const text = groups.map((group) => group.toString(16)).join(':');
  // the longest run of two zeros or more, the first of those that are as long
  const runs = [...text.matchAll(/(?<![0-9a-f])0(?::0)+(?![0-9a-f])/g)];
  const longest = runs.reduce<string>((best, [run]) => (run.length > best.length ? run : best), '');
  const at = runs.find(([run]) => run === longest)?.index;
  if (at === undefined) return text;
  return `${text.slice(0, at).replace(/:$/, '')}::${text.slice(at + longest.length).replace(/^:/, '')}`;
}
