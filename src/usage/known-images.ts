import { LRUCache } from 'lru-cache';

/** Images that are remembered, over all projects; at about 100 bytes each. The project unused for longest goes first. */
const mostImages = 500_000;
const mostProjects = 100_000;
const none: ReadonlyMap<string, number> = new Map();

/**
 * By project: images that had bytes when they were last seen, or that an upload was stored in since, and how many. A list
 * of images has to be read in parts (pages, and hidden images apart), and one that its owner hides and shows meanwhile
 * may be in none of them: so a reading asks for what is known and not listed by its id. And an image whose data is
 * there may lose its size in the API's books (a change that was loaded before the upload ended and saved after it): so
 * what is known of it counts until the image is gone or has a size again.
 */
export class KnownImages {
  readonly #byProject = new LRUCache<string, Map<string, number>>({
    maxSize: mostImages,
    sizeCalculation: (images) => images.size + 1,
  });

  /** Projects of which a reading was taken in, as far as they are remembered. */
  readonly #read = new LRUCache<string, true>({ max: mostProjects });

  /** False as long as an image of the project may never have been seen. */
  wasRead(project: string): boolean {
    return this.#read.has(project) && this.#byProject.has(project);
  }

  /** Bytes by image. */
  of(project: string): ReadonlyMap<string, number> {
    return this.#byProject.get(project) ?? none;
  }

  /** @param bytes that the image has at least; 0 where nobody knows. */
  add(project: string, image: string, bytes: number): void {
    const images = this.#byProject.get(project) ?? new Map<string, number>();
    images.set(image, Math.max(bytes, images.get(image) ?? 0));
    // set again for its new size, which is what the bound goes by
    this.#byProject.set(project, images);
  }

  /**
   * Takes a reading in: what it found stays known, what it looked for and did not find is forgotten, and what was
   * added since it began stays.
   */
  read(project: string, found: ReadonlyMap<string, number>, lookedFor: ReadonlySet<string>): void {
    const images = new Map(found);
    for (const [image, bytes] of this.of(project)) if (!lookedFor.has(image)) images.set(image, bytes);
    this.#byProject.set(project, images);
    this.#read.set(project, true);
  }
}
