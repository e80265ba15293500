import { LRUCache } from 'lru-cache';

/** Images that are remembered, over all projects; at about 100 bytes each. The project unused for longest goes first. */
const mostImages = 500_000;
const mostProjects = 100_000;
const none: ReadonlySet<string> = new Set();

/**
 * By project: images that had bytes when they were last seen, or that an upload was stored in since. A list of images has
 * to be read in parts (pages, and hidden images apart), and one that its owner hides and shows meanwhile may be
 * in none of them. So a reading asks for what is known and not listed by its id.
 */
export class KnownImages {
  readonly #byProject = new LRUCache<string, ReadonlySet<string>>({
    maxSize: mostImages,
    sizeCalculation: (images) => images.size + 1,
  });

  /** Projects of which a reading was taken in, as far as they are remembered. */
  readonly #read = new LRUCache<string, true>({ max: mostProjects });

  /** False as long as an image of the project may never have been seen. */
  wasRead(project: string): boolean {
    return this.#read.has(project) && this.#byProject.has(project);
  }

  of(project: string): ReadonlySet<string> {
    return this.#byProject.get(project) ?? none;
  }

  add(project: string, image: string): void {
    this.#byProject.set(project, new Set([...this.of(project), image]));
  }

  /**
   * Takes a reading in: what it found stays known, what it looked for and did not find is forgotten, and what was
   * added since it began stays.
   */
  read(project: string, found: Iterable<string>, lookedFor: ReadonlySet<string>): void {
    const added = [...this.of(project)].filter((image) => !lookedFor.has(image));
    this.#byProject.set(project, new Set([...found, ...added]));
    this.#read.set(project, true);
  }
}
