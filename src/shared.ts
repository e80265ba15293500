/**
 * Something that several use and none of them owns: when the last one lets go of it, it is let go of for good. Whoever
 * makes it holds it too, for as long as there are to be new users.
 */
export class Shared<T> {
  readonly value: T;
  readonly #onUnused: (value: T) => void;
  #holders = 0;
  #unused = false;

  /** @param onUnused called once, when the last holder lets go. */
  constructor(value: T, onUnused: (value: T) => void) {
    this.value = value;
    this.#onUnused = onUnused;
  }

  /**
   * @returns lets go; calling it again is harmless.
   * @throws Error where all holders were gone already: that is a bug of the caller.
   */
  hold(): () => void {
    if (this.#unused) throw new Error('nobody holds this any more: it is being closed');
    this.#holders += 1;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#holders -= 1;
      if (this.#holders > 0) return;
      this.#unused = true;
      this.#onUnused(this.value);
    };
  }
}
