/** How many of something are under way, and when the last of them is over. */
export class UnderWay {
  #count = 0;
  readonly #waiting: (() => void)[] = [];

  get count(): number {
    return this.#count;
  }

  /** @returns ends it; to be called once. */
  begin(): () => void {
    this.#count += 1;
    return () => {
      this.#count -= 1;
      if (this.#count === 0) for (const each of this.#waiting.splice(0)) each();
    };
  }

  /** Resolves when none is under way. */
  async over(): Promise<void> {
    if (this.#count > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}
