import type { ImageLookup } from './image-lookup.ts';
import type { Reservation } from './ledger/ledger.ts';
import type { Log } from './log.ts';
import { pause } from './pause.ts';
import type { Caller } from './usage/usage.ts';

/** Between two looks at an image, at first and at most. */
const firstWaitMs = 250;
const longestWaitMs = 60_000;

/**
 * Uploads that are over without anybody knowing how: the upstream vanished after the last byte. Their bytes stay counted
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
    // the request is over before its outcome is known, and so may be the configuration it began with
    const release = upload.lookup.hold();
    void this.#resolve(reservation, upload, stop.signal).finally(() => {
      this.#pending.delete(stop);
      release();
    });
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
      await pause(Math.min(waitMs, leftMs), stop);
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
