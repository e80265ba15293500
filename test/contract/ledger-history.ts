import assert from 'node:assert/strict';
import type { AccountLimits } from '../../src/core/account.ts';
import type { Outcome } from '../../src/core/endings.ts';
import type {
  Charge,
  Claim,
  Granted,
  Ledger,
  RefusedClaim,
  Reservation,
  UsageReading,
} from '../../src/ledger/ledger.ts';

export interface Gateway {
  readonly ledger: Ledger;
  state: 'working' | 'silent' | 'expired';
}

/** An image as the API holds it. */
export interface Image {
  readonly bytes: number;
  /** The accounts that pay for it. */
  readonly accounts: readonly string[];
  deleted: boolean;
}

export interface Upload {
  readonly claim: Claim;
  readonly gateway: Gateway;
  readonly reservation: Reservation;
  bytes: number;
  state: 'live' | 'unknown' | 'settled';
  /** What the API stored of it; null = nothing yet. It may do so long before the gateway knows. */
  image: Image | null;
  /** Moment of its settlement as `stored`; null = not so. */
  storedAt: number | null;
}

export interface Reading {
  readonly account: string;
  readonly gateway: Gateway;
  readonly reading: UsageReading;
  readonly begunAt: number;
  /** What the API said; null = it was not looked at yet. */
  seenBytes: number | null;
  ended: boolean;
}

/** All of an account that is not told by uploads, readings and images. */
interface Book {
  limits: AccountLimits;
  /** The newest reading that was taken in: what it said, when it began, and when it was taken in (null = it is not valid any more). */
  readBytes: number;
  readFrom: number;
  readAtMs: number | null;
  /** A reading that began before this moment is older news, though the newer one be forgotten. */
  newestFrom: number;
  /** Since when the API holds images that the ledger has not heard of; null = there are none. */
  blindSince: number | null;
  /** Something is above its limit, and the contract says that it may be. */
  readonly excused: { counted: boolean; inFlight: boolean; really: boolean };
}

/**
 * The reference that a ledger is compared with, and the API beside it. It keeps no running sums, but the list of all that
 * happened, summed up anew each time it is asked. The ledger knows of the API only from readings and the ends of uploads.
 */
export class LedgerHistory {
  readonly uploads: Upload[] = [];
  readonly readings: Reading[] = [];
  readonly images: Image[] = [];
  readonly gateways: Gateway[] = [];
  /** The clock of the gateways, in milliseconds. */
  nowMs = 0;
  readonly #books: ReadonlyMap<string, Book>;
  /** As the engine declares. */
  readonly #forgets: boolean;
  #moment = 0;

  constructor(limits: Readonly<Record<string, AccountLimits>>, forgets: boolean) {
    this.#forgets = forgets;
    this.#books = new Map(
      Object.entries(limits).map(([account, own]) => [
        account,
        {
          limits: own,
          readBytes: 0,
          readFrom: 0,
          readAtMs: null,
          newestFrom: 0,
          blindSince: null,
          excused: { counted: false, inFlight: false, really: false },
        },
      ]),
    );
  }

  /** Moments are the steps: nothing happens twice in one. */
  nextMoment(): void {
    this.#moment += 1;
  }

  get accounts(): readonly string[] {
    return [...this.#books.keys()];
  }

  limitsOf(account: string): AccountLimits {
    return this.#book(account).limits;
  }

  // what there is to do something with; `nth` counts round those that fit

  nthGateway(nth: number): Gateway {
    const gateway = pick(this.gateways, nth, ({ state }) => state === 'working');
    if (gateway === undefined) throw new Error('no gateway works');
    return gateway;
  }

  nthSilent(nth: number): Gateway | undefined {
    return pick(this.gateways, nth, ({ state }) => state === 'silent');
  }

  nthUpload(nth: number, fits: (upload: Upload) => boolean): Upload | undefined {
    return pick(this.uploads, nth, fits);
  }

  nthReading(nth: number, fits: (reading: Reading) => boolean): Reading | undefined {
    return pick(this.readings, nth, fits);
  }

  nthImage(nth: number, fits: (image: Image) => boolean): Image | undefined {
    return pick(this.images, nth, fits);
  }

  // what the ledger has to say

  countedIn(account: string): number {
    const { readBytes, readFrom } = this.#book(account);
    return readBytes + this.#unreadIn(account, readFrom) + this.savingIn(account);
  }

  savingIn(account: string): number {
    return sum(this.#inFlight(account));
  }

  uploadsIn(account: string): number {
    return this.#inFlight(account).filter(({ state }) => state === 'live').length;
  }

  readingAgeMs(account: string): number | null {
    const { readAtMs } = this.#book(account);
    return readAtMs === null ? null : this.nowMs - readAtMs;
  }

  /** What the gateway itself has in flight. */
  savingOf(gateway: Gateway): number {
    return sum(this.uploads.filter((upload) => upload.gateway === gateway && upload.state !== 'settled'));
  }

  uploadsOf(gateway: Gateway): number {
    return this.uploads.filter((upload) => upload.gateway === gateway && upload.state === 'live').length;
  }

  /** The answer to a claim, with its exact numbers. */
  answerTo({ charges, bytes, leastBytes, enforce }: Claim, newUpload: boolean): Granted<number> {
    let grantedBytes = bytes;
    let overdrawn: RefusedClaim | null = null;
    for (const { account, limits } of charges) {
      const totalLeft = limits.totalBytes - this.countedIn(account);
      const savingLeft = limits.savingBytes - this.savingIn(account);
      if (newUpload && this.uploadsIn(account) >= limits.uploads) {
        overdrawn ??= { account, limit: 'uploads', requested: 1, remaining: 0, allowed: limits.uploads };
      } else if (leastBytes > totalLeft) {
        const remaining = Math.max(0, totalLeft);
        overdrawn ??= {
          account,
          limit: 'total',
          requested: leastBytes,
          remaining,
          allowed: limits.totalBytes,
        };
      } else if (leastBytes > savingLeft) {
        const remaining = Math.max(0, savingLeft);
        overdrawn ??= {
          account,
          limit: 'saving',
          requested: leastBytes,
          remaining,
          allowed: limits.savingBytes,
        };
      }
      if (enforce) grantedBytes = Math.min(grantedBytes, totalLeft, savingLeft);
    }
    return enforce && overdrawn !== null ? { refused: overdrawn } : { granted: grantedBytes, overdrawn };
  }

  /** True where an older reading may be refused although nothing newer is known: what was known may be forgotten. */
  mayBeOlderNews({ account, begunAt }: Reading): boolean {
    return (
      this.#forgets &&
      this.#book(account).readAtMs === null &&
      [...this.#books.values()].some(({ newestFrom }) => begunAt < newestFrom)
    );
  }

  /** True for an account with nothing in flight and nothing unread: it is only remembered for its reading, if it has one. */
  mayForget(account: string): boolean {
    const { readBytes, readFrom, readAtMs } = this.#book(account);
    if (!this.#forgets || (readBytes === 0 && readAtMs === null)) return false;
    // an upload of nothing whose outcome is unknown holds nothing
    if (this.uploadsIn(account) > 0 || this.savingIn(account) > 0) return false;
    return this.#unreadIn(account, readFrom) === 0;
  }

  // what happens

  joined(ledger: Ledger): void {
    this.gateways.push({ ledger, state: 'working' });
  }

  reserved(upload: Upload): void {
    this.uploads.push(upload);
    this.#overdraw(upload.claim.charges, upload.claim.enforce);
  }

  grown(upload: Upload, bytes: number, enforce: boolean): void {
    upload.bytes += bytes;
    this.#overdraw(upload.claim.charges, enforce);
  }

  /** The API has the upload's image now. */
  stored(upload: Upload, bytes: number): void {
    const accounts = upload.claim.charges
      .filter((charge) => charge.paysForStored)
      .map(({ account }) => account);
    upload.image = { bytes, accounts, deleted: false };
    this.images.push(upload.image);
  }

  /** Somebody stores an image and goes round the gateways. */
  storedElsewhere(account: string, bytes: number): void {
    this.images.push({ bytes, accounts: [account], deleted: false });
    this.#book(account).blindSince = this.#moment;
  }

  settled(upload: Upload, outcome: Outcome): void {
    upload.state = outcome === 'unknown' ? 'unknown' : 'settled';
    if (outcome !== 'stored') return;
    upload.storedAt = this.#moment;
    if (upload.image === null || upload.image.bytes === 0) return;
    for (const { account, limits, paysForStored } of upload.claim.charges) {
      if (!paysForStored || limits.totalBytes !== Infinity) continue;
      // its bytes are not kept: what is known of the account lacks them, until a reading that begins later
      const book = this.#book(account);
      book.readAtMs = null;
      book.newestFrom = this.#moment;
      book.blindSince = this.#moment;
    }
  }

  begun(account: string, gateway: Gateway, reading: UsageReading): Reading {
    const begun = { account, gateway, reading, begunAt: this.#moment, seenBytes: null, ended: false };
    this.readings.push(begun);
    return begun;
  }

  /** @returns what the API says, in bytes. */
  looked(reading: Reading): number {
    reading.seenBytes = this.heldByApi(reading.account);
    return reading.seenBytes;
  }

  /** @param olderNews true where the ledger took it for that, as `mayBeOlderNews` lets it. */
  ended(reading: Reading, olderNews: boolean): void {
    reading.ended = true;
    const book = this.#book(reading.account);
    if (olderNews || reading.begunAt <= book.newestFrom) return;
    const before = this.countedIn(reading.account);
    book.readBytes = reading.seenBytes ?? 0;
    book.readFrom = reading.begunAt;
    book.newestFrom = reading.begunAt;
    book.readAtMs = this.nowMs;
    if (book.blindSince !== null && book.blindSince < reading.begunAt) book.blindSince = null;
    if (this.countedIn(reading.account) > before) book.excused.counted = true;
  }

  /** The engine let go of an idle account, which has to be read anew. */
  forgotten(account: string): void {
    const book = this.#book(account);
    book.readBytes = 0;
    book.readAtMs = null;
    book.blindSince = this.#moment;
  }

  configured(account: string, limits: AccountLimits): void {
    const book = this.#book(account);
    if (!fitsIn(book.limits, limits)) this.#excuse(book);
    book.limits = limits;
  }

  /** The gateway is gone, and with it the readings that it had begun. */
  crashed(gateway: Gateway): void {
    gateway.state = 'silent';
    removeWhere(this.readings, (reading) => reading.gateway === gateway);
  }

  /** The gateway's lease ran out: what it has in flight is released, whatever the API holds of it. */
  expired(gateway: Gateway): void {
    gateway.state = 'expired';
    for (const upload of this.uploads) {
      if (upload.gateway !== gateway || upload.state === 'settled') continue;
      upload.state = 'settled';
      for (const account of upload.image?.accounts ?? []) this.#book(account).blindSince = this.#moment;
    }
  }

  /** The gateway is gone, and with it all that was known. */
  lost(gateway: Gateway): void {
    gateway.state = 'expired';
    this.uploads.length = 0;
    this.readings.length = 0;
    for (const book of this.#books.values()) {
      book.readBytes = 0;
      book.readFrom = this.#moment;
      book.newestFrom = this.#moment;
      book.readAtMs = null;
      book.blindSince = this.#moment;
    }
  }

  // what has to hold

  /** What the API holds of an account's images. */
  heldByApi(account: string): number {
    return sum(this.images.filter(({ accounts, deleted }) => !deleted && accounts.includes(account)));
  }

  /**
   * The promises of the contract after a step: not a byte is lost, and nothing is above its limit but for a reason that
   * the contract names. A reason holds until all is below the limit again.
   */
  checkPromises(account: string): void {
    const { limits, blindSince, excused } = this.#book(account);
    const inFlight = this.#inFlight(account);
    // what may still come is what no image is there of
    const really = this.heldByApi(account) + sum(inFlight.filter(({ image }) => image === null));
    const counted = this.countedIn(account);
    const saving = sum(inFlight);
    const uploads = this.uploadsIn(account);
    // a reading that saw bytes of a running upload counts them twice for a while: too much, never too little
    if (blindSince === null)
      assert.equal(really <= counted, true, `${account}: ${really} bytes are there, ${counted} counted`);
    else excused.really = true;

    const { totalBytes } = limits;
    const within = {
      counted: counted <= totalBytes,
      inFlight: saving <= limits.savingBytes && uploads <= limits.uploads,
      really: really <= totalBytes,
    };
    const sayCounted = `${account}: ${counted} bytes counted of ${totalBytes}`;
    assert.equal(within.counted || excused.counted, true, sayCounted);
    const sayInFlight = `${account}: ${saving} bytes in flight of ${limits.savingBytes}, ${uploads} uploads of ${limits.uploads}`;
    assert.equal(within.inFlight || excused.inFlight, true, sayInFlight);
    const sayReally = `${account}: ${really} bytes of images there or to come, of ${totalBytes}`;
    assert.equal(within.really || excused.really, true, sayReally);

    // an upload grows under the limits of its claim, which may be higher than today's
    const claimed = inFlight.flatMap(({ claim }) =>
      claim.charges.filter((charge) => charge.account === account),
    );
    if (!claimed.every((charge) => fitsIn(charge.limits, limits))) return;
    if (within.counted) excused.counted = false;
    if (within.inFlight) excused.inFlight = false;
    if (within.really && blindSince === null) excused.really = false;
  }

  #overdraw(charges: readonly Charge[], enforce: boolean): void {
    if (!enforce) for (const { account } of charges) this.#excuse(this.#book(account));
  }

  #excuse({ excused }: Book): void {
    excused.counted = true;
    excused.inFlight = true;
    excused.really = true;
  }

  #inFlight(account: string): Upload[] {
    return this.uploads.filter(({ state, claim }) => state !== 'settled' && isCharged(claim, account));
  }

  /** Stored bytes that a reading begun at `from` does not tell of. */
  #unreadIn(account: string, from: number): number {
    let bytes = 0;
    for (const { storedAt, image, claim } of this.uploads) {
      if (storedAt === null || storedAt <= from || image === null) continue;
      const charge = claim.charges.find((one) => one.account === account);
      if (charge?.paysForStored && charge.limits.totalBytes !== Infinity) bytes += image.bytes;
    }
    return bytes;
  }

  #book(account: string): Book {
    const book = this.#books.get(account);
    if (book === undefined) throw new Error(`the model has no account ${account}`);
    return book;
  }
}

const isCharged = ({ charges }: Claim, account: string): boolean =>
  charges.some((charge) => charge.account === account);

/** True where no limit of `inner` is above that of `outer`. */
const fitsIn = (inner: AccountLimits, outer: AccountLimits): boolean =>
  inner.totalBytes <= outer.totalBytes &&
  inner.savingBytes <= outer.savingBytes &&
  inner.uploads <= outer.uploads;

const sum = (parts: readonly { bytes: number }[]): number =>
  parts.reduce((bytes, part) => bytes + part.bytes, 0);

function pick<T>(list: readonly T[], nth: number, fits: (one: T) => boolean): T | undefined {
  const fitting = list.filter(fits);
  return fitting[nth % fitting.length];
}

function removeWhere<T>(list: T[], goes: (one: T) => boolean): void {
  const left = list.filter((one) => !goes(one));
  list.splice(0, list.length, ...left);
}
