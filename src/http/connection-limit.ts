/** How many connections of clients are open, over all listeners. */
export class ConnectionLimit {
  /** 0 = no limit. A smaller one closes nothing that is open. */
  most: number;
  #open = 0;

  constructor(most: number) {
    this.most = most;
  }

  /** True if one more may be open; then `release` has to follow. */
  acquire(): boolean {
    if (this.most > 0 && this.#open >= this.most) return false;
    this.#open += 1;
    return true;
  }

  release(): void {
    this.#open -= 1;
  }
}
