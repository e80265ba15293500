/** From this part of a bound on, clients are asked to leave; the rest is for those that are on their way. */
const crowdedPart = 0.9;

/** How much there is at once of something of which there may only be so much. */
export class Bound {
  /** 0 = no limit. A smaller one takes nothing away. */
  most: number;
  #held = 0;
  readonly #heldElsewhere: () => number;

  /** @param heldElsewhere how much of it is held where nobody calls `add`. */
  constructor(most: number, heldElsewhere: () => number = () => 0) {
    this.most = most;
    this.#heldElsewhere = heldElsewhere;
  }

  /** Above `most` where it was lowered, or where `add` went past it. */
  get held(): number {
    return this.#held + this.#heldElsewhere();
  }

  /** Nine tenths are held. */
  get crowded(): boolean {
    return this.most > 0 && this.held >= this.most * crowdedPart;
  }

  get full(): boolean {
    return this.most > 0 && this.held >= this.most;
  }

  /** True if that much more may be held; then `add` with the same amount, negative, has to follow. */
  acquire(amount = 1): boolean {
    if (this.most > 0 && this.held + amount > this.most) return false;
    this.#held += amount;
    return true;
  }

  /** Counts what is held whether or not it may be; a negative amount is no longer held. */
  add(amount: number): void {
    this.#held += amount;
  }
}
