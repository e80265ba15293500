import { LRUCache } from 'lru-cache';
import {
  type Account,
  countableBytes,
  emptyAccount,
  refusal,
  remainingBytes,
  withReading,
  withReadingOutdated,
  withReleased,
  withReserved,
  withStored,
  withUploadEnded,
} from '../core/account.ts';
import type { Outcome } from '../core/endings.ts';
import { assertBytes } from '../core/units.ts';
import type { Claim, Granted, Ledger, RefusedClaim, Reservation, UsageReading } from './ledger.ts';

interface Book {
  account: Account;
  /** By the ledger's clock, when the newest reading was taken in; null = never, or it is out of date. */
  readAtMs: number | null;
}

/**
 * The ledger of one process. A step is synchronous from its first look at an account to its last
 * change, so no other step can come between.
 */
export class MemoryLedger implements Ledger {
  readonly #nowMs: () => number;
  readonly #busy = new Map<string, Book>();
  readonly #idle: LRUCache<string, Book>;
  /** By id of a reservation that is not settled: its bytes. */
  readonly #live = new Map<string, () => number>();
  #lastMark = 0;
  /** Where the newest reading began, of whatever account. */
  #lastReadingMark = 0;
  /** The newest reading that was forgotten: an account not known may have had one as new, so older ones are ignored. */
  #forgottenMark = 0;
  #uploads = 0;

  /**
   * @param nowMs a clock that never goes back, in milliseconds.
   * @param idleAccounts how many accounts without an upload are remembered for their last reading, at least 1; the
   *   longest unused goes first.
   */
  constructor(nowMs: () => number, idleAccounts = 10_000) {
    this.#nowMs = nowMs;
    this.#idle = new LRUCache({
      max: idleAccounts,
      dispose: ({ account }, _key, reason) => {
        if (reason === 'evict') this.#forgottenMark = Math.max(this.#forgottenMark, account.readingMark);
      },
    });
  }

  async reserve(claim: Claim): Promise<Granted<Reservation>> {
    if (this.#live.has(claim.id)) throw new Error(`reservation ${claim.id} exists already`);
    const granted = this.#charge(claim, true);
    if ('refused' in granted) return granted;
    const reservation = this.#reservation(claim, granted.granted);
    this.#live.set(claim.id, () => reservation.bytes);
    this.#uploads += 1;
    return { ...granted, granted: reservation };
  }

  async beginReading(account: string): Promise<UsageReading> {
    const beginMark = this.#nextMark();
    this.#lastReadingMark = beginMark;
    return {
      end: async (storedBytes) => {
        assertBytes(`a reading of ${account}`, storedBytes);
        const book = this.#open(account);
        const read = withReading(book.account, storedBytes, beginMark);
        if (read === book.account) return;
        this.#write(account, { account: read, readAtMs: this.#nowMs() });
      },
    };
  }

  async readingAgeMs(account: string): Promise<number | null> {
    const { readAtMs } = this.#open(account);
    return readAtMs === null ? null : this.#nowMs() - readAtMs;
  }

  savingBytes(): number {
    let bytes = 0;
    for (const reserved of this.#live.values()) bytes += reserved();
    return bytes;
  }

  uploads(): number {
    return this.#uploads;
  }

  #reservation(claim: Claim, firstBytes: number): Reservation {
    const ledger = this;
    let bytes = firstBytes;
    let state: 'live' | 'unknown' | 'settled' = 'live';
    return {
      id: claim.id,
      get bytes() {
        return bytes;
      },
      async grow(moreBytes, leastBytes, enforce) {
        if (state !== 'live') throw new Error(`reservation ${claim.id} is settled and cannot grow`);
        const granted = ledger.#charge({ ...claim, bytes: moreBytes, leastBytes, enforce }, false);
        if ('granted' in granted) bytes += granted.granted;
        return granted;
      },
      async settle(outcome, storedBytes) {
        if (state === 'settled' || (state === 'unknown' && outcome === 'unknown')) return;
        if (outcome === 'stored') assertBytes(`stored of ${claim.id}`, storedBytes, bytes);
        ledger.#settle(claim, bytes, outcome, storedBytes, state === 'live');
        state = outcome === 'unknown' ? 'unknown' : 'settled';
      },
    };
  }

  /** Charges all accounts or none; grants as much of `bytes` as fits everywhere, if that is `leastBytes` at least. */
  #charge({ id, charges, bytes, leastBytes, enforce }: Claim, newUpload: boolean): Granted<number> {
    assertBytes(`wanted for ${id}`, bytes);
    assertBytes(`wanted at least for ${id}`, leastBytes, bytes);
    let grantedBytes = bytes;
    let overdrawn: RefusedClaim | null = null;
    for (const { account, limits } of charges) {
      const book = this.#open(account);
      const refused = refusal(book.account, limits, leastBytes, newUpload);
      if (refused !== null) overdrawn ??= { account, ...refused };
      const countable = countableBytes(book.account);
      if (leastBytes > countable) {
        const most = Number.MAX_SAFE_INTEGER;
        return {
          refused: { account, limit: 'saving', requested: leastBytes, remaining: countable, allowed: most },
        };
      }
      grantedBytes = Math.min(grantedBytes, countable);
      if (enforce) grantedBytes = Math.min(grantedBytes, remainingBytes(book.account, limits));
    }
    if (overdrawn !== null && enforce) return { refused: overdrawn };
    for (const { account } of charges) {
      const book = this.#open(account);
      this.#write(account, { ...book, account: withReserved(book.account, grantedBytes, newUpload) });
    }
    return { granted: grantedBytes, overdrawn };
  }

  #settle(claim: Claim, bytes: number, outcome: Outcome, storedBytes: number, wasLive: boolean): void {
    const endMark = this.#nextMark();
    for (const { account, limits, paysForStored } of claim.charges) {
      let { account: next, readAtMs } = this.#open(account);
      if (wasLive) next = withUploadEnded(next);
      if (outcome === 'stored' && paysForStored && Number.isFinite(limits.totalBytes)) {
        next = withStored(next, bytes, storedBytes, endMark, this.#lastReadingMark);
      } else if (outcome !== 'unknown') {
        next = withReleased(next, bytes);
        if (outcome === 'stored' && paysForStored && storedBytes > 0) {
          // without a total limit nobody reads this account, and nothing would ever take the bytes out of `unread`
          next = withReadingOutdated(next, endMark);
          readAtMs = null;
        }
      }
      this.#write(account, { account: next, readAtMs });
    }
    if (wasLive) this.#uploads -= 1;
    if (outcome !== 'unknown') {
      this.#live.delete(claim.id);
    }
  }

  #open(account: string): Book {
    const known = this.#busy.get(account) ?? this.#idle.get(account);
    return known ?? { account: { ...emptyAccount, readingMark: this.#forgottenMark }, readAtMs: null };
  }

  #write(account: string, book: Book): void {
    const { savingBytes, uploads, unread, readingMark } = book.account;
    if (savingBytes > 0 || uploads > 0 || unread.length > 0) {
      // what is idle under this name is old from now on, and is not looked at; to take it out would cost more than all
      // the rest of the step: the library clears its arrays of 10,000 places when the last entry goes
      this.#busy.set(account, book);
    } else {
      this.#busy.delete(account);
      if (book.readAtMs !== null || readingMark > this.#forgottenMark) this.#idle.set(account, book);
      else this.#idle.delete(account);
    }
  }

  #nextMark(): number {
    this.#lastMark += 1;
    return this.#lastMark;
  }
}
