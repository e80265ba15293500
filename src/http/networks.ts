import { BlockList, isIP } from 'node:net';

/** A set of networks, each a CIDR (`10.0.0.0/8`, `fd00::/8`) or a single address. */
export class Networks {
  readonly #list = new BlockList();
  readonly #empty: boolean;

  /** @throws Error if an entry is neither. */
  constructor(entries: readonly string[]) {
    this.#empty = entries.length === 0;
    for (const entry of entries) {
      const [address = '', prefix] = entry.split('/');
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
      if (prefix === undefined) this.#list.addAddress(address, family);
      else this.#list.addSubnet(address, Number(prefix), family);
    }
  }

  /** False for anything that is not an address: a unix socket has none. */
  has(address: string): boolean {
    if (this.#empty) return false;
    const family = isIP(address);
    return family !== 0 && this.#list.check(address, family === 6 ? 'ipv6' : 'ipv4');
  }
}
