import { GatewayError } from './core/errors.ts';

/** How long data that comes in waits for changes of the record that are under way. */
const longestWaitMs = 10_000;
/** How long a change counts as under way whose answer was lost: the API may still be at it. */
const lostChangeMs = 60_000;

/**
 * One writer for each image. Glance loads an image's record, changes it and saves all of it, status and size too: a
 * change that was loaded while data came in and is saved afterwards takes the size away, and with it the data out of
 * every sum (proved on Glance 25.1). So while data comes in nobody changes the record, and while somebody changes it no
 * data comes in. Deletes are free: they end what comes in.
 */
export class ImageAccess {
  /** How many uploads, stages and imports bring in data, by image. */
  readonly #filling = new Map<string, number>();
  readonly #changing = new Map<string, Set<Promise<void>>>();

  /**
   * Data is about to come in; waits for changes under way.
   * @returns ends it; calling it again is harmless.
   * @throws GatewayError `image-busy` if they take too long.
   */
  async fill(image: string): Promise<() => void> {
    // first nobody may begin another change, then those that began are waited for
    const end = this.fillNow(image);
    const changes = this.#changing.get(image);
    if (changes === undefined) return end;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), longestWaitMs);
    });
    const waited = await Promise.race([Promise.all(changes).then(() => 'done' as const), late]);
    clearTimeout(timer);
    if (waited === 'done') return end;
    end();
    throw busy('A change of the image is still under way.');
  }

  /** The same for what has begun already. */
  fillNow(image: string): () => void {
    this.#filling.set(image, (this.#filling.get(image) ?? 0) + 1);
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      const left = (this.#filling.get(image) ?? 0) - 1;
      if (left > 0) this.#filling.set(image, left);
      else this.#filling.delete(image);
    };
  }

  /**
   * The record is about to be changed.
   * @returns ends it: `known` is false where nobody knows whether the API is done.
   * @throws GatewayError `image-busy` while data comes in.
   */
  change(image: string): (known: boolean) => void {
    if (this.#filling.has(image)) throw busy('Data of the image is coming in.');
    const changes = this.#changing.get(image) ?? new Set<Promise<void>>();
    this.#changing.set(image, changes);
    let done = (): void => {};
    const change = new Promise<void>((resolve) => {
      done = resolve;
    });
    changes.add(change);
    const end = (): void => {
      changes.delete(change);
      if (changes.size === 0 && this.#changing.get(image) === changes) this.#changing.delete(image);
      done();
    };
    return (known) => {
      if (known) end();
      else setTimeout(end, lostChangeMs).unref();
    };
  }
}

const busy = (detail: string): GatewayError => new GatewayError('image-busy', detail, { ending: 'refused' });
