/** Says when something is to be given up: of an `AbortSignal` what is needed for that. */
export interface GiveUp {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** One that is told from within. No `AbortController`: each request needs one. */
export abstract class GivenUp implements GiveUp {
  #aborted = false;
  #reason: unknown = null;
  readonly #listeners = new Set<() => void>();

  get aborted(): boolean {
    return this.#aborted;
  }

  /** null until then. */
  get reason(): unknown {
    return this.#reason;
  }

  addEventListener(_: 'abort', listener: () => void): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_: 'abort', listener: () => void): void {
    this.#listeners.delete(listener);
  }

  /** The first reason counts. */
  protected giveUp(reason: unknown): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason;
    for (const listener of this.#listeners) listener();
  }
}
