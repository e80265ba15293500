import type { ImageLookup } from './image-lookup.ts';
import type { Reservation } from './ledger/ledger.ts';
import type { Log } from './log.ts';
import { pause } from './pause.ts';
import type { Upload } from './registry.ts';
import type { UploadRow } from './upload-row.ts';
import type { Caller } from './usage/usage.ts';

/** Between two looks at an image, at first and at most. */
const firstWaitMs = 250;
const longestWaitMs = 60_000;

/** An upload that is over, and how to find out what became of it. */
export interface UnknownOutcome {
  readonly upload: Upload;
  readonly caller: Caller;
  readonly lookup: ImageLookup;
  /** Given up after this long without a word of the API about the image; 0 = never. */
  readonly holdMs: number;
  /** How long the image must have been seen without data before the bytes are given back. */
  readonly confirmMs: number;
  /** Called once, when the outcome is known or is waited for no longer. */
  readonly onEnd: () => void;
}

interface Pending {
  readonly reservation: Reservation;
  readonly unknown: UnknownOutcome;
  readonly stop: AbortController;
}

/**
 * Uploads that are over without anybody knowing how: the upstream vanished or failed after the last byte. Their bytes stay
 * counted until the image says which it was, for `holdMs`, or until an operator gives them up.
 */
export class Resolution {
  readonly #log: Log;
  readonly #pending = new Map<string, Pending>();

  constructor(log: Log) {
    this.#log = log;
  }

  get size(): number {
    return this.#pending.size;
  }

  rows(): UploadRow[] {
    return [...this.#pending.values()].map(({ reservation, unknown: { upload } }) => ({
      id: upload.id,
      start: upload.start,
      lane: upload.lane,
      startedAt: upload.startedAt,
      upstream: upload.upstream,
      progress: upload.progress,
      reservedBytes: reservation.bytes,
      ending: 'unknown',
    }));
  }

  /** Takes the reservation over, which is settled as `unknown`, and settles it for good some time later. */
  begin(reservation: Reservation, unknown: UnknownOutcome): void {
    const pending: Pending = { reservation, unknown, stop: new AbortController() };
    this.#pending.set(unknown.upload.id, pending);
    // the request is over before its outcome is known, and so may be the configuration it began with
    const release = unknown.lookup.hold();
    void this.#resolve(pending).finally(() => {
      this.#pending.delete(unknown.upload.id);
      unknown.onEnd();
      release();
    });
  }

  /** An operator waits no longer: the bytes are given back. False where there is no such upload. */
  async giveUp(id: string): Promise<boolean> {
    const pending = this.#pending.get(id);
    if (pending === undefined) return false;
    this.#pending.delete(id);
    pending.stop.abort();
    await pending.reservation.settle('released', 0);
    this.#log.warn(aboutOf(pending), 'upload of unknown outcome given up by an operator');
    return true;
  }

  /** Gives up on all that is pending: the process ends, and its ledger with it. */
  stop(): void {
    for (const { stop } of this.#pending.values()) stop.abort();
  }

  async #resolve(pending: Pending): Promise<void> {
    const {
      reservation,
      unknown: { upload, caller, lookup, holdMs, confirmMs },
      stop: { signal: stop },
    } = pending;
    const about = aboutOf(pending);
    let heardMs = performance.now();
    let withoutDataSinceMs: number | null = null;
    for (let waitMs = firstWaitMs; lookup.possible; waitMs = Math.min(waitMs * 2, longestWaitMs)) {
      const leftMs = holdMs === 0 ? Infinity : holdMs - (performance.now() - heardMs);
      if (leftMs <= 0) break;
      const confirmLeftMs =
        withoutDataSinceMs === null ? Infinity : confirmMs - (performance.now() - withoutDataSinceMs);
      await pause(Math.max(1, Math.min(waitMs, leftMs, confirmLeftMs)), stop);
      if (stop.aborted) return;
      const state = await lookup.state(upload.start.image, caller);
      if (stop.aborted) return;
      const nowMs = performance.now();
      if (state !== 'undecided') heardMs = nowMs;
      if (state === 'not-stored') {
        // the request may be waiting in the API, which has not looked at the image yet
        withoutDataSinceMs ??= nowMs;
        if (nowMs - withoutDataSinceMs < confirmMs) continue;
      } else if (state !== 'stored' && state !== 'gone') {
        if (state === 'running') withoutDataSinceMs = null;
        continue;
      }
      const outcome = state === 'stored' ? 'stored' : 'released';
      await reservation.settle(outcome, Math.min(upload.progress.sentBytes, reservation.bytes));
      this.#log.info({ ...about, outcome }, 'upload of unknown outcome resolved');
      return;
    }
    await reservation.settle('released', 0);
    this.#log.warn(about, 'upload of unknown outcome given up: the API never said what became of its image');
  }
}

function aboutOf({ reservation, unknown: { upload } }: Pending): Record<string, unknown> {
  return { upload: upload.id, image: upload.start.image, reserved_bytes: reservation.bytes };
}
