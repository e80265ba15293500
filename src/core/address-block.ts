/**
 * What counts as one client: an IPv4 address as it is, an IPv6 address by its /64, because that is the least a
 * single machine is given (RFC 6177 §2) and it may use all of it. What is no address, such as `unix`, is itself.
 * @param address as `forwardedFor` gives it: well-formed, without zone.
 */
export function addressBlock(address: string): string {
  if (!address.includes(':')) return address;
  const [head = '', tail = ''] = address.split('::');
  const front = groupsOf(head);
  const back = groupsOf(tail);
  const gap = Array.from({ length: Math.max(0, 8 - front.length - back.length) }, () => 0);
  const groups = [...front, ...gap, ...back];
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return groups
      .slice(6)
      .flatMap((group) => [group >> 8, group & 0xff])
      .join('.');
  }
  const network = groups.slice(0, 4).map((group) => group.toString(16));
  return `${network.join(':')}::/64`;
}

/** The 16-bit groups of a part of an IPv6 address; an IPv4 address at its end is two of them. */
function groupsOf(part: string): number[] {
  if (part === '') return [];
  return part.split(':').flatMap((group) => {
    const [a = 0, b = 0, c, d = 0] = group.split('.').map(Number);
    return c === undefined ? [Number.parseInt(group, 16)] : [a * 256 + b, c * 256 + d];
  });
}
