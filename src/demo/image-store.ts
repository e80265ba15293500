import { createHash } from 'node:crypto';
import {
  createReadStream,
  createWriteStream,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
} from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ImageData } from './image.ts';

/** `images` holds what was uploaded or imported, `staging` what waits for its import. */
export type Shelf = 'images' | 'staging';

const shelves: readonly Shelf[] = ['images', 'staging'];

/** Image data as files in a scratch folder of our own. Image ids are UUIDs, so they are safe as names of files. */
export class ImageStore {
  readonly #folder: string;
  readonly #removeAtExit = (): void => rmSync(this.#folder, { recursive: true, force: true });

  /** @param parent where the scratch folder is made; default the folder of temporary files of the system. */
  constructor(parent: string = tmpdir()) {
    this.#folder = mkdtempSync(join(parent, 'sluice-images-'));
    for (const shelf of shelves) mkdirSync(join(this.#folder, shelf));
    process.once('exit', this.#removeAtExit);
  }

  /**
   * Streams a body into a file, replacing what an earlier try may have left.
   * Rejects when the body was cut short or the disk failed, and then destroys the body.
   */
  async receive(shelf: Shelf, id: string, body: Readable): Promise<ImageData> {
    const md5 = createHash('md5');
    let sizeBytes = 0;
    async function* measured(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
      for await (const piece of pieces) {
        md5.update(piece);
        sizeBytes += piece.length;
        yield piece;
      }
    }
    await pipeline(body, measured, createWriteStream(this.#path(shelf, id)));
    return { sizeBytes, checksum: md5.digest('hex') };
  }

  /** Bytes `first` to `last`, both included. */
  read(id: string, first: number, last: number): Readable {
    return createReadStream(this.#path('images', id), { start: first, end: last });
  }

  async takeFromStaging(id: string): Promise<void> {
    await rename(this.#path('staging', id), this.#path('images', id));
  }

  /** Nothing happens when there is no file. */
  async remove(shelf: Shelf, id: string): Promise<void> {
    await rm(this.#path(shelf, id), { force: true });
  }

  /** Bytes that the files hold now, those of uploads under way and of staged images included. */
  storedBytes(): number {
    return shelves
      .flatMap((shelf) => readdirSync(join(this.#folder, shelf)).map((name) => this.#path(shelf, name)))
      .reduce((sum, path) => sum + (statSync(path, { throwIfNoEntry: false })?.size ?? 0), 0);
  }

  /** Removes the scratch folder and everything in it. */
  async close(): Promise<void> {
    process.removeListener('exit', this.#removeAtExit);
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 3 });
  }

  #path(shelf: Shelf, id: string): string {
    return join(this.#folder, shelf, id);
  }
}
