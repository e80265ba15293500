import { readdirSync, readlinkSync } from 'node:fs';

/** Descriptors of this process, by kind: `socket`, `pipe`, `anon_inode` (proc(5)). */
export function descriptors(): Readonly<Record<string, number>> {
  const kinds: Record<string, number> = {};
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      const kind = readlinkSync(`/proc/self/fd/${fd}`).replace(/:.*/, '');
      if (['socket', 'pipe', 'anon_inode'].includes(kind)) kinds[kind] = (kinds[kind] ?? 0) + 1;
    } catch {
      // the one that lists them is closed by now
    }
  }
  return kinds;
}
