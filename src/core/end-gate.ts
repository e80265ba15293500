/** Marks in the word of a gate, above its count of holds. */
const claimed = 1 << 30;
const awaited = 1 << 29;

/**
 * Whether the end of a body may be sent: its last byte, or the frame that ends it. Who sends the body claims the end right
 * before; who deletes the image holds it until the delete is answered. One of the two comes first: each is one atomic step on
 * one word of memory, so they may be in two threads, each with a gate of its own over the same word.
 *
 * A claim that was refused bars further holds: deletes that overlap without end would hold the body back for ever.
 */
export class EndGate {
  /** For the gate that another thread has over the same memory. */
  readonly word: Int32Array;
  /** Called when a claim that was refused would succeed; by the gate of whoever releases. */
  onFree: (() => void) | null = null;

  /** @param word the first element is the gate, 0 at the start. */
  constructor(word: Int32Array = new Int32Array(new SharedArrayBuffer(4))) {
    this.word = word;
  }

  /** The end was sent, or may have been. */
  get isClaimed(): boolean {
    return (Atomics.load(this.word, 0) & claimed) !== 0;
  }

  /** True: the end may be sent, now and for good. False while it is held; `onFree` tells when to claim again. */
  claim(): boolean {
    for (;;) {
      const seen = Atomics.load(this.word, 0);
      if ((seen & claimed) !== 0) return true;
      const free = (seen & ~awaited) === 0;
      if (this.#replaces(seen, free ? claimed : seen | awaited)) return free;
    }
  }

  /**
   * True: the end is not sent until `release`, which has to follow once. False: the claim came first, granted or not, and the
   * body comes to its end without asking again.
   */
  hold(): boolean {
    for (;;) {
      const seen = Atomics.load(this.word, 0);
      if ((seen & (claimed | awaited)) !== 0) return false;
      if (this.#replaces(seen, seen + 1)) return true;
    }
  }

  release(): void {
    if (Atomics.sub(this.word, 0, 1) === (awaited | 1)) this.onFree?.();
  }

  #replaces(seen: number, next: number): boolean {
    return Atomics.compareExchange(this.word, 0, seen, next) === seen;
  }
}
