/** Whom an upload waits for: bytes of the client, the upstream to take what it was given, or a word of the gateway's own. */
export type Awaited = 'client' | 'upstream' | 'gateway';

/** How long an upload has waited for whom. Times are those of one clock that never goes back, in milliseconds. */
export class Waits {
  readonly #waitedMs: Record<Awaited, number> = { client: 0, upstream: 0, gateway: 0 };
  #awaited: Awaited = 'client';
  #sinceMs: number;

  /** @param nowMs from here on the client is waited for. */
  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
  }

  get awaited(): Awaited {
    return this.#awaited;
  }

  /** From now on `awaited` is waited for, and nobody else. */
  turnTo(awaited: Awaited, nowMs: number): void {
    this.#waitedMs[this.#awaited] += nowMs - this.#sinceMs;
    this.#awaited = awaited;
    this.#sinceMs = nowMs;
  }

  /** For how long in all, until now. */
  ofMs(awaited: Awaited, nowMs: number): number {
    const current = awaited === this.#awaited ? nowMs - this.#sinceMs : 0;
    return this.#waitedMs[awaited] + current;
  }
}
