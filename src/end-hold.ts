import type { EndGate } from './core/end-gate.ts';

/** What one delete of an image holds while it is under way: the ends of the bodies that are coming in for the image. */
export class EndHold {
  readonly #held: EndGate[] = [];
  readonly #ending: Promise<void>[] = [];
  readonly #onRelease: () => void;
  #released = false;

  constructor(onRelease: () => void) {
    this.#onRelease = onRelease;
  }

  /** @param ended resolves when the upload is over. */
  take(gate: EndGate, ended: Promise<void>): void {
    if (gate.hold()) this.#held.push(gate);
    else this.#ending.push(ended);
  }

  /** Resolves when the uploads are over whose ends came first: they are sent, or are as soon as another delete is answered. */
  async othersOver(): Promise<void> {
    await Promise.all(this.#ending);
  }

  /** Harmless when called again. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#onRelease();
    for (const gate of this.#held) gate.release();
  }
}
