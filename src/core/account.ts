/** Limits of one account: `Infinity` = no limit, 0 = nothing at all (a cloud may say so; in our files 0 means no limit). */
export interface AccountLimits {
  /** Stored + saving bytes. */
  readonly totalBytes: number;
  /** Saving bytes. */
  readonly savingBytes: number;
  /** Uploads at once. */
  readonly uploads: number;
}

/** Which limit was met, and how far the request was from fitting. Bytes, or uploads for `uploads`. */
export interface Refusal {
  readonly limit: 'total' | 'saving' | 'uploads';
  readonly requested: number;
  readonly remaining: number;
  readonly allowed: number;
}

/**
 * What one owner has, in whole bytes. Nothing here is ever negative.
 *
 * `stored` is what the API said last. An upload that was stored after that reading began is not in
 * it, so its bytes wait in `unread` until a reading that began later includes them. Order is told by
 * marks, numbers that the ledger hands out strictly rising: a mark is smaller exactly when its event
 * came first.
 */
export interface Account {
  readonly storedBytes: number;
  /** A reading that began at this mark or before is ignored: that of the one held, or later. 0 = never read. */
  readonly readingMark: number;
  readonly savingBytes: number;
  readonly uploads: number;
  /** By when they ended, the newest last; of several that were stored between the same two readings, the last one's mark. */
  readonly unread: readonly { readonly bytes: number; readonly endMark: number }[];
}

export const unlimited: AccountLimits = Object.freeze({
  totalBytes: Infinity,
  savingBytes: Infinity,
  uploads: Infinity,
});

export const emptyAccount: Account = Object.freeze({
  storedBytes: 0,
  readingMark: 0,
  savingBytes: 0,
  uploads: 0,
  unread: Object.freeze([]),
});

/** Everything that counts against `totalBytes`. */
export function countedBytes(account: Account): number {
  return account.storedBytes + unreadBytes(account) + account.savingBytes;
}

/** Bytes stored since the last reading began. */
export function unreadBytes(account: Account): number {
  return account.unread.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Bytes that may still be reserved. `Infinity` where no limit is set, never negative. */
export function remainingBytes(account: Account, limits: AccountLimits): number {
  return Math.max(0, Math.min(totalRemaining(account, limits), savingRemaining(account, limits)));
}

/** Bytes that can be added and still be counted to the byte: sums are exact up to 2^53 - 1. Never negative. */
export function countableBytes(account: Account): number {
  return Math.max(0, Number.MAX_SAFE_INTEGER - countedBytes(account));
}

/**
 * Why `bytes` more cannot be reserved, or null if they can.
 * @param newUpload true when the reservation is a new one and so takes a place among `uploads`.
 */
export function refusal(
  account: Account,
  limits: AccountLimits,
  bytes: number,
  newUpload: boolean,
): Refusal | null {
  if (newUpload && account.uploads >= limits.uploads) {
    return { limit: 'uploads', requested: 1, remaining: 0, allowed: limits.uploads };
  }
  // total first: it is the one that waiting does not mend
  const total = totalRemaining(account, limits);
  if (bytes > total) {
    return { limit: 'total', requested: bytes, remaining: Math.max(0, total), allowed: limits.totalBytes };
  }
  const saving = savingRemaining(account, limits);
  if (bytes > saving) {
    return { limit: 'saving', requested: bytes, remaining: Math.max(0, saving), allowed: limits.savingBytes };
  }
  return null;
}

export function withReserved(account: Account, bytes: number, newUpload: boolean): Account {
  return {
    ...account,
    savingBytes: account.savingBytes + bytes,
    uploads: account.uploads + (newUpload ? 1 : 0),
  };
}

/** The upload is over, its bytes are not settled: they stay in saving, its place among `uploads` is free. */
export function withUploadEnded(account: Account): Account {
  return { ...account, uploads: account.uploads - 1 };
}

export function withReleased(account: Account, bytes: number): Account {
  return { ...account, savingBytes: account.savingBytes - bytes };
}

/**
 * `storedBytes` of the reserved bytes are stored now, and wait for a reading to include them. What no reading can tell
 * apart, because none began in between, is kept as one: else each upload would cost as much as there were since the last.
 * @param lastReadingMark where the newest reading of all began, taken in or not; 0 = none has.
 */
export function withStored(
  account: Account,
  reservedBytes: number,
  storedBytes: number,
  endMark: number,
  lastReadingMark: number,
): Account {
  const released = withReleased(account, reservedBytes);
  if (storedBytes === 0) return released;
  const last = account.unread.at(-1);
  const alike = last !== undefined && last.endMark > lastReadingMark;
  const before = alike ? account.unread.slice(0, -1) : account.unread;
  const bytes = storedBytes + (alike ? last.bytes : 0);
  return { ...released, unread: [...before, { bytes, endMark }] };
}

/** Something was stored at `endMark` that `unread` does not keep: only a reading that begins later tells of it. */
export function withReadingOutdated(account: Account, endMark: number): Account {
  return { ...account, readingMark: endMark };
}

/** Takes a reading in. One that began before the reading already held is older news and is ignored. */
export function withReading(account: Account, storedBytes: number, beginMark: number): Account {
  if (beginMark <= account.readingMark) return account;
  return {
    ...account,
    storedBytes,
    readingMark: beginMark,
    unread: account.unread.filter(({ endMark }) => endMark > beginMark),
  };
}

function totalRemaining(account: Account, limits: AccountLimits): number {
  return limits.totalBytes - countedBytes(account);
}

function savingRemaining(account: Account, limits: AccountLimits): number {
  return limits.savingBytes - account.savingBytes;
}
