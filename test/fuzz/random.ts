/** Numbers that look random and are the same for the same seeds. */
export class Random {
  #state: number;

  /** @param seeds whole numbers below 2^32; the order matters. */
  constructor(...seeds: readonly number[]) {
    this.#state = 0x9e3779b9;
    for (const seed of seeds) {
      this.#state = Math.imul(this.#state ^ seed, 0x85ebca6b) >>> 0;
      this.#next();
    }
  }

  /** From 0 to `limit - 1`. */
  below(limit: number): number {
    return Math.floor((this.#next() / 2 ** 32) * limit);
  }

  chance(probability: number): boolean {
    return this.#next() / 2 ** 32 < probability;
  }

  pick<T>(list: readonly T[]): T {
    const picked = list[this.below(list.length)];
    if (picked === undefined) throw new Error('nothing to pick from');
    return picked;
  }

  /** Letters only: nothing in it looks like framing. */
  letters(bytes: number): Buffer {
    const start = this.below(26);
    const step = 1 + this.below(25);
    const text = Buffer.allocUnsafe(bytes);
    for (let i = 0; i < bytes; i += 1) text[i] = 97 + ((start + i * step + (i >> 5)) % 26);
    return text;
  }

  hex(digits: number): string {
    let text = '';
    while (text.length < digits) text += this.below(16).toString(16);
    return text;
  }

  /** Cuts bytes into pieces at random places. */
  cut(bytes: Buffer, pieces: number): Buffer[] {
    const places = Array.from({ length: pieces - 1 }, () => this.below(bytes.length + 1)).sort(
      (one, other) => one - other,
    );
    return [...places, bytes.length]
      .map((place, i) => bytes.subarray(i === 0 ? 0 : places[i - 1], place))
      .filter(({ length }) => length > 0);
  }

  // xorshift32 and a multiplication
  #next(): number {
    let state = this.#state || 0x6d2b79f5;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state >>> 0;
    return Math.imul(this.#state, 0x2c1b3c6d) >>> 0;
  }
}
