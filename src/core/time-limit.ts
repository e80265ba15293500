import { GiB } from './units.ts';

/** How long a body may take in all. Both 0 = for ever. */
export interface TimeLimit {
  /** Milliseconds for any body; above 0 where `perGibMs` is. */
  readonly baseMs: number;
  /** Milliseconds more for each GiB of it, and in part for a part of one. */
  readonly perGibMs: number;
}

/**
 * The time for a body of so many bytes, in whole milliseconds; Infinity = no limit.
 * @param bytes as declared, or as received so far where nobody knows the length.
 */
export function timeFor({ baseMs, perGibMs }: TimeLimit, bytes: number): number {
  if (baseMs === 0 && perGibMs === 0) return Infinity;
  return baseMs + Math.ceil((perGibMs * bytes) / GiB);
}
