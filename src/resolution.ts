import type { ImageLookup } from './image-lookup.ts';
import type { Reservation } from './ledger/ledger.ts';
import type { Log } from './log.ts';
import type { Caller } from './usage/usage.ts';

/** Between two looks at an image, at first and at most. */
const firstWaitMs = 250;
const longestWaitMs = 60_000;

/**
 * Uploads that are over without anybody knowing how: the upstream vanished or failed after the last byte. Their bytes stay counted
 * until the image says which it was, or for `holdMs`.
 */
export class Resolution {
  readonly #log: Log;
  readonly #pending = new Set<AbortController>();

  constructor(log: Log) {
    this.#log = log;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** Takes the reservation over, which is settled as `unknown`, and settles it for good some time later. */
  begin(
    reservation: Reservation,
    upload: { image: string; sentBytes: number; caller: Caller; lookup: ImageLookup; holdMs: number },
  ): void {
    const stop = new AbortController();
    this.#pending.add(stop);
    void this.#resolve(reservation, upload, stop.signal).finally(() => this.#pending.delete(stop));
  }

  /** Gives up on all that is pending: the process ends, and its ledger with it. */
  stop(): void {
    for (const stop of this.#pending) stop.abort();
  }

  async #resolve(
    reservation: Reservation,
    upload: { image: string; sentBytes: number; caller: Caller; lookup: ImageLookup; holdMs: number },
    stop: AbortSignal,
  ): Promise<void> {
    const { image, sentBytes, caller, lookup, holdMs } = upload;
    const about = { upload: reservation.id, image };
    const beganMs = performance.now();
    for (let waitMs = firstWaitMs; lookup.possible; waitMs = Math.min(waitMs * 2, longestWaitMs)) {
      const leftMs = holdMs === 0 ? Infinity : holdMs - (performance.now() - beganMs);
      if (leftMs <= 0) break;
      await sleep(Math.min(waitMs, leftMs), stop);
      if (stop.aborted) return;
      const state = await lookup.state(image, caller);
      if (state === 'undecided') continue;
      const outcome = state === 'stored' ? 'stored' : 'released';
      await reservation.settle(outcome, Math.min(sentBytes, reservation.bytes));
      this.#log.info({ ...about, outcome }, 'upload of unknown outcome resolved');
      return;
    }
    await reservation.settle('released', 0);
    this.#log.warn(about, 'upload of unknown outcome given up: the API never said what became of its image');
  }
}

/** Resolves after a time, or at once when told to stop; keeps no process alive. */
function sleep(ms: number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      stop.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    timer.unref();
    stop.addEventListener('abort', done);
    if (stop.aborted) done();
  });
}
