import { setTimeout as sleep } from 'node:timers/promises';
import { bytesOnDisk, type Store } from './stack.ts';

/** How often the disk is looked at. */
const intervalMs = 5;

/** The most bytes that some images have had on disk together. */
export class HighWater {
  bytes = 0;
  readonly #store: Store;
  readonly #images: () => readonly string[];
  #stopped = false;
  readonly #watching: Promise<void>;

  constructor(store: Store, images: () => readonly string[]) {
    this.#store = store;
    this.#images = images;
    this.#watching = this.#watch();
  }

  async stop(): Promise<number> {
    this.#stopped = true;
    await this.#watching;
    return this.bytes;
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      const sizes = await Promise.all(this.#images().map((image) => bytesOnDisk(this.#store, image)));
      this.bytes = Math.max(
        this.bytes,
        sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0),
      );
      await sleep(intervalMs);
    }
  }
}
