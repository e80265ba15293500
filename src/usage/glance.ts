import { z } from 'zod';
import { MiB } from '../core/units.ts';
import { parsedJson } from '../http/ask.ts';
import { type Ask, imageList, refuseRefusal, unavailable } from './image-list.ts';
import type { KnownImages } from './known-images.ts';
import type { Caller, UsageSource } from './usage.ts';

/** Images that are asked for by id side by side. */
const questionsAtOnce = 8;

/**
 * How often both lists are read when nothing is known of a project: an owner who hides and shows an image all the time must
 * hit seven gaps between eight lists to keep it out of sight. From the second round on only what changed lately is
 * listed.
 */
const firstRounds = 4;
/** How lately: more than the clocks of the API and the gateway can differ. */
const latelyMs = 3_600_000;

/** States whose bytes Glance does not count (glance.md §3.2): their data is gone or going. */
const uncounted = new Set(['killed', 'deleted', 'pending_delete']);

const imageSchema = z.object({
  id: z.string(),
  status: z.string(),
  owner: z.string().nullish(),
  size: z.int().nonnegative().nullish(),
  stores: z.string().optional(),
});

const usedMiB = z.object({ usage: z.int().nonnegative() }).optional();
const usageAnswer = z.object({
  usage: z.object({ image_size_total: usedMiB, image_stage_total: usedMiB }),
});

/**
 * Stored bytes as Glance counts them: over the images of the project, size times the number of stores.
 *
 * The exact figure comes from the image list, and for known images that are not in it from each of them. Where unified
 * limits are on, `/v2/info/usage` gives the same sum in one request, but floored to MiB, so it stands for the last byte
 * that it may mean.
 */
export class GlanceUsage implements UsageSource {
  readonly #ask: Ask;
  /** Null = not asked yet. An API without unified limits answers an empty object, one before Yoga 404. */
  #knowsUsage: boolean | null = null;
  readonly #known: KnownImages;

  constructor(ask: Ask, known: KnownImages) {
    this.#ask = ask;
    this.#known = known;
  }

  async storedBytes(project: string, caller: Caller, precision: 'exact' | 'upper'): Promise<number> {
    // the short answer is about the caller's own project, whoever is asked for
    if (precision === 'upper' && caller.project === project && this.#knowsUsage !== false) {
      const upperBytes = await this.#upperBytes(caller);
      if (upperBytes !== null) return upperBytes;
    }
    const counted = new Map<string, number>();
    const rounds = this.#known.wasRead(project) ? 1 : firstRounds;
    const lately = `gte:${new Date(Date.now() - latelyMs).toISOString().slice(0, 19)}Z`;
    for (let round = 0; round < rounds; round += 1) {
      // images that are hidden are not in the plain list, but in the quota
      for (const hidden of ['false', 'true']) {
        const filters = { os_hidden: hidden, ...(round > 0 && { updated_at: lately }) };
        await this.#readList(project, caller, filters, counted);
      }
    }
    const lookedFor = new Set(this.#known.of(project).keys());
    await this.#readEach(
      project,
      caller,
      [...lookedFor].filter((image) => !counted.has(image)),
      counted,
    );
    this.#known.read(project, counted, lookedFor);
    let bytes = 0;
    for (const each of counted.values()) bytes += each;
    return bytes;
  }

  /** Adds an image's bytes, unless they are not the project's or not in its quota. */
  #count(image: z.output<typeof imageSchema>, project: string, counted: Map<string, number>): void {
    // an older API may not know the filter, and an administrator sees everybody's
    if (image.owner !== project || uncounted.has(image.status)) return;
    const bytes =
      image.size == null ? (this.#known.of(project).get(image.id) ?? 0) : image.size * copies(image.stores);
    if (bytes > 0) counted.set(image.id, bytes);
  }

  async #upperBytes(caller: Caller): Promise<number | null> {
    const answer = await this.#ask('/v2/info/usage', caller);
    refuseRefusal(answer.status);
    const read = usageAnswer.safeParse(answer.status === 200 ? parsedJson(answer) : null);
    const usage = read.success ? read.data.usage : {};
    const storedMiB = usage.image_size_total?.usage;
    const stagedMiB = usage.image_stage_total?.usage;
    const known = storedMiB !== undefined && stagedMiB !== undefined;
    if (answer.status < 500) this.#knowsUsage = known;
    // what is staged has no location yet, and so is not in the total
    return known ? lastByteOf(storedMiB) + lastByteOf(stagedMiB) : null;
  }

  async #readList(
    project: string,
    caller: Caller,
    filters: Readonly<Record<string, string>>,
    counted: Map<string, number>,
  ): Promise<void> {
    const ofProject = {
      owner: project,
      sort: 'created_at:asc',
      ...filters,
      // without it an administrator is not shown the community images of others
      ...(caller.project !== project && { visibility: 'all' }),
    };
    for await (const image of imageList(this.#ask, caller, ofProject, imageSchema)) {
      this.#count(image, project, counted);
    }
  }

  async #readEach(
    project: string,
    caller: Caller,
    images: readonly string[],
    counted: Map<string, number>,
  ): Promise<void> {
    const waiting = images.values();
    const readOn = async (): Promise<void> => {
      for (const id of waiting) {
        const answer = await this.#ask(`/v2/images/${id}`, caller);
        if (answer.status === 404 || answer.status === 410) continue;
        refuseRefusal(answer.status);
        const read = imageSchema.safeParse(answer.status === 200 ? parsedJson(answer) : null);
        if (!read.success) throw unavailable(`The API answered ${answer.status} when asked for an image.`);
        this.#count(read.data, project, counted);
      }
    };
    await Promise.all(Array.from({ length: Math.min(questionsAtOnce, images.length) }, readOn));
  }
}

/** The most that a figure floored to MiB may stand for. */
const lastByteOf = (mebibytes: number): number => (mebibytes + 1) * MiB - 1;

function copies(stores: string | undefined): number {
  return stores === undefined || stores === '' ? 1 : stores.split(',').length;
}
