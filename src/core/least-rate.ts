export interface LeastRate {
  /** Bytes of which each further lot must arrive within `perMs` of the one before; at least 1. */
  readonly bytes: number;
  /** At least 1. */
  readonly perMs: number;
  /** How long after its start an upload is not yet judged; 0 = at once. */
  readonly graceMs: number;
}

/**
 * Whether a client keeps the least rate of an upload. Each lot of `bytes` has `perMs` to arrive, from the moment that the lot
 * before was whole: so a client is never silent for longer than `perMs`, never slower than the rate over its lots, and
 * whoever sends `bytes` in every stretch of `perMs` is never judged. What comes beyond a lot does not count for the next.
 *
 * Only running time counts, for the grace too: not that in which the client was held back. Times are those of one clock that
 * never goes back, in milliseconds.
 */
export class RateWatch {
  readonly #rate: LeastRate;
  /** Running time before the last hold ended. */
  #ranMs = 0;
  /** Since when it runs; null while the client is held back. */
  #runsSinceMs: number | null;
  /** Running time at which the lot under way began. */
  #lotBeganMs: number;
  #lotBytes = 0;

  /** @param nowMs the start of the upload, which then runs. */
  constructor(rate: LeastRate, nowMs: number) {
    this.#rate = rate;
    this.#runsSinceMs = nowMs;
    this.#lotBeganMs = rate.graceMs;
  }

  /** Bytes of the lot under way that have arrived. */
  get lotBytes(): number {
    return this.#lotBytes;
  }

  /** The client is held back from now on. Again: nothing changes. */
  hold(nowMs: number): void {
    this.#ranMs = this.#runningMs(nowMs);
    this.#runsSinceMs = null;
  }

  /** The client may send from now on. Again: nothing changes. */
  release(nowMs: number): void {
    this.#runsSinceMs ??= nowMs;
  }

  /** Bytes have arrived, by now. What arrives while the client is held back was on its way. */
  receive(bytes: number, nowMs: number): void {
    this.#lotBytes += bytes;
    if (this.#lotBytes < this.#rate.bytes) return;
    const ranMs = this.#runningMs(nowMs);
    // in the grace the first lot begins with its end
    this.#lotBeganMs = Math.max(this.#lotBeganMs, ranMs);
    this.#lotBytes = 0;
  }

  /** How much longer the client cannot be too slow; 0 = it is. Infinity while it is held back: ask again after `release`. */
  leftMs(nowMs: number): number {
    if (this.#runsSinceMs === null) return Infinity;
    return Math.max(0, this.#lotBeganMs + this.#rate.perMs - this.#runningMs(nowMs));
  }

  #runningMs(nowMs: number): number {
    return this.#ranMs + (this.#runsSinceMs === null ? 0 : nowMs - this.#runsSinceMs);
  }
}
