export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;

/** The unit of memory, of ledger growth, of deadlines and of progress (design: 4 MiB, as in glance_store since 2015). */
export const defaultChunkBytes = 4 * MiB;

const sizeUnits: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB,
  MiB,
  GiB,
  TiB: 1024 * GiB,
};

const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: 1e3, m: 60e3, h: 3600e3 };

/**
 * A size as a file states it: a whole number of bytes, or a number with `B KB MB GB TB` (decimal)
 * or `KiB MiB GiB TiB` (binary). The result is a whole number of bytes, at most 2^53 - 1.
 * Returns null for anything else: negative, not whole in bytes, another unit, another type.
 */
export function parseSize(value: unknown): number | null {
  const bytes = typeof value === 'number' ? value : scaled(value, sizeUnits, 'B');
  return bytes !== null && Number.isSafeInteger(bytes) && bytes >= 0 ? bytes : null;
}

/**
 * A duration as a file states it: a number of seconds, or a number with `ms s m h`.
 * The result is whole milliseconds, at most 2^31 - 1 (24 days: the longest that a Node timer can wait).
 * Returns null for anything else.
 */
export function parseDuration(value: unknown): number | null {
  const exactMs = typeof value === 'number' ? value * 1e3 : scaled(value, durationUnits, 's');
  if (exactMs === null || !(exactMs >= 0) || exactMs > 2 ** 31 - 1) return null;
  const ms = Math.round(exactMs);
  // 0 switches a limit off, so a tiny positive duration must not round down to it
  return ms === 0 && exactMs > 0 ? 1 : ms;
}

/**
 * @param mostBytes the most that is allowed, in bytes.
 * @throws RangeError for anything but a whole number from 0 to that: NaN would make every later comparison false.
 */
export function assertBytes(what: string, bytes: number, mostBytes: number = Number.MAX_SAFE_INTEGER): void {
  if (Number.isSafeInteger(bytes) && bytes >= 0 && bytes <= mostBytes) return;
  throw new RangeError(`${what}: ${bytes} is no number of bytes from 0 to ${mostBytes}`);
}

function scaled(value: unknown, units: Readonly<Record<string, number>>, plainUnit: string): number | null {
  if (typeof value !== 'string') return null;
  const match = /^(\d+(?:\.\d+)?) ?([A-Za-z]*)$/.exec(value.trim());
  const unit = units[match?.[2] || plainUnit];
  return match === null || unit === undefined ? null : Number(match[1]) * unit;
}
