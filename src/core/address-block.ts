import { ipv6Groups, mappedIpv4 } from './address.ts';

/**
 * What counts as one client: an IPv4 address as it is, an IPv6 address by its /64, because that is the least a
 * single machine is given (RFC 6177 §2) and it may use all of it. What is no address, such as `unix`, is itself.
 * @param address as `forwardedFor` gives it: well-formed, without zone.
 */
export function addressBlock(address: string): string {
  if (!address.includes(':')) return address;
  const groups = ipv6Groups(address);
  const mapped = mappedIpv4(groups);
  if (mapped !== null) return mapped;
  const network = groups.slice(0, 4).map((group) => group.toString(16));
  return `${network.join(':')}::/64`;
}
