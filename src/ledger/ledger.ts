import type { AccountLimits, Refusal } from '../core/account.ts';
import type { Outcome } from '../core/endings.ts';

/** One account that a reservation is charged to. */
export interface Charge {
  /** `project:ID` or `user:ID`. */
  readonly account: string;
  readonly limits: AccountLimits;
  /**
   * True for the account that pays for stored bytes too (the project): there a stored upload stays
   * counted until a reading that began later includes it, if there is a total limit. False: the bytes go when the upload ends.
   */
  readonly paysForStored: boolean;
}

export interface Claim {
  /** Unique for ever; a second claim with the id of a live reservation is a bug and is thrown. */
  readonly id: string;
  readonly charges: readonly Charge[];
  /** Wanted, in bytes; may be granted in part, but never less than `leastBytes`. */
  readonly bytes: number;
  readonly leastBytes: number;
  /** False grants all of `bytes` even where a limit is met, and says which (`quota.mode: log`). */
  readonly enforce: boolean;
}

export interface RefusedClaim extends Refusal {
  readonly account: string;
}

export type Granted<T> =
  | { readonly granted: T /** The limit that was passed over. */; readonly overdrawn: RefusedClaim | null }
  | { readonly refused: RefusedClaim };

/** Bytes set aside for one upload. Whoever holds it settles it, whatever happens. */
export interface Reservation {
  readonly id: string;
  /** Reserved now, in bytes. */
  readonly bytes: number;
  /**
   * Sets `bytes` more aside, at least `leastBytes`, in all accounts or in none.
   * The result is how many were granted. A settled reservation grows no more and throws.
   * @throws RangeError as `reserve` does.
   * @param enforce as in the claim.
   */
  grow(bytes: number, leastBytes: number, enforce: boolean): Promise<Granted<number>>;
  /**
   * Ends the reservation, once: settling again is harmless and changes nothing. After `unknown`, which frees the
   * upload's place but keeps its bytes, one settle with `stored` or `released` follows.
   * @param storedBytes what the API stored; at most `bytes`. Only looked at for `stored`.
   * @throws RangeError where `storedBytes` is not that; the reservation stands as before.
   */
  settle(outcome: Outcome, storedBytes: number): Promise<void>;
}

/** A reading of an account's stored bytes that has begun and not ended. */
export interface UsageReading {
  /**
   * @param storedBytes what the API says; a reading that began before one already taken in is ignored.
   * @throws RangeError where it is no number of bytes; nothing is taken in.
   */
  end(storedBytes: number): Promise<void>;
}

/**
 * Counts who has how much in flight, exactly: for every account and at every moment
 * stored + unread + saving <= total, saving <= its limit, uploads <= theirs; but for claims that are not enforced, and
 * for a limit that was lowered or a reading that rose while uploads were under way: then nothing more is granted.
 *
 * Each operation is one atomic step over all charges of a claim: either every account is charged or none.
 * Operations on one account are totally ordered, and a usage reading has a place in that order
 * where it *begins*: it replaces exactly what ended before that.
 * Limits come with each claim and are not kept: a change of configuration holds for the next claim.
 * What is stored under no total limit is not kept either. It makes the readings that began before it out of date: they
 * have no age and are not taken in any more, so that who counts under a limit later reads anew.
 * After a crash of the process the memory engine knows nothing; uploads died with it.
 */
export interface Ledger {
  /** @throws RangeError where `bytes` or `leastBytes` are no number of bytes, or the least is more than what is wanted. */
  reserve(claim: Claim): Promise<Granted<Reservation>>;
  beginReading(account: string): Promise<UsageReading>;
  /** Milliseconds since the newest reading of the account was taken in, or null if there is none that is up to date. */
  readingAgeMs(account: string): Promise<number | null>;
  /** Reserved and not yet settled, over all accounts' uploads, in bytes. Each upload is counted once. */
  savingBytes(): number;
  /** Uploads that hold a place now. */
  uploads(): number;
}
