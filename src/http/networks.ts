import { BlockList, isIP } from 'node:net';
import { LRUCache } from 'lru-cache';

/** Addresses whose answer is remembered: a look into the list makes an object of the address first. */
const remembered = 1_000;

/** A set of peers: networks (`10.0.0.0/8`, `fd00::/8`), single addresses, and `unix` for those of unix sockets. */
export class Networks {
  readonly #list = new BlockList();
  readonly #unix: boolean;
  readonly #known = new LRUCache<string, boolean>({ max: remembered });
  /** There is no address among them: nothing to look up. */
  readonly #empty: boolean;

  /** @throws Error if an entry is none of these. */
  constructor(entries: readonly string[]) {
    this.#unix = entries.includes('unix');
    this.#empty = entries.every((entry) => entry === 'unix');
    for (const entry of entries) {
      if (entry === 'unix') continue;
      const [address = '', prefix] = entry.split('/');
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
      if (prefix === undefined) this.#list.addAddress(address, family);
      else this.#list.addSubnet(address, Number(prefix), family);
    }
  }

  /** @param address as `Client.peerAddress`. False for anything that is neither an address nor `unix`. */
  has(address: string): boolean {
    if (address === 'unix') return this.#unix;
    if (this.#empty) return false;
    const known = this.#known.get(address);
    if (known !== undefined) return known;
    const family = isIP(address);
    const found = family !== 0 && this.#list.check(address, family === 6 ? 'ipv6' : 'ipv4');
    this.#known.set(address, found);
    return found;
  }
}
