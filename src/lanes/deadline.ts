/** Node counts no further: 24 days. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * A deadline that moves on while bytes do. There is no timer for each move: one timer looks, when it fires, how much is left,
 * and waits for that. What came in while this thread was busy counts before anybody is blamed: timers fire before sockets are
 * read, so a deadline that seems met is looked at once more after they were.
 */
export class Deadline {
  readonly #leftMs: (nowMs: number) => number;
  readonly #onMet: () => void;
  #timer: NodeJS.Timeout | undefined;
  #lastLook: NodeJS.Immediate | undefined;
  #over = false;

  /**
   * @param leftMs what is left at a moment of `performance.now()`, asked when there is reason to; 0 or less = met, Infinity =
   *   there is none until `arm` is called.
   * @param onMet called once at most.
   */
  constructor(leftMs: (nowMs: number) => number, onMet: () => void) {
    this.#leftMs = leftMs;
    this.#onMet = onMet;
  }

  /** Looks at the deadline from now on; one that is looked at already goes on. */
  arm(): void {
    if (this.#over || this.#timer !== undefined || this.#lastLook !== undefined) return;
    const leftMs = this.#leftMs(performance.now());
    if (leftMs === Infinity) return;
    this.#timer = setTimeout(this.#onTimer, Math.min(longestTimerMs, Math.ceil(Math.max(0, leftMs))));
  }

  /** Ends it for good; nothing is left waiting. */
  end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    clearImmediate(this.#lastLook);
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined;
    const nowMs = performance.now();
    if (this.#leftMs(nowMs) > 0) return this.arm();
    this.#lastLook = setImmediate(() => {
      this.#lastLook = undefined;
      if (this.#leftMs(nowMs) > 0) return this.arm();
      this.#over = true;
      this.#onMet();
    });
  };
}
