import { createHash } from 'node:crypto';

/**
 * The names in the order of preference of one key, by rendezvous hashing: whoever knows the same names finds the same order,
 * and a name that goes away moves only the keys that it was first for.
 */
export function rendezvousOrder(names: readonly string[], key: string): string[] {
  const scored = names.map((name) => ({
    name,
    score: createHash('sha256').update(`${name}\n${key}`).digest('hex'),
  }));
  return scored.toSorted((one, other) => (one.score < other.score ? 1 : -1)).map(({ name }) => name);
}
