import { z } from 'zod';
import { GatewayError } from '../core/errors.ts';
import { MiB } from '../core/units.ts';
import type { Fetched } from '../http/passthrough.ts';
import type { Caller, UsageSource } from './usage.ts';

/** Glance's `api_limit_max`: the longest page it gives. */
const pageLimit = 1000;
/** A project with more images than this cannot be read: 10 million. A list that goes round in circles ends here too. */
const mostPages = 10_000;

/** States whose bytes Glance does not count (glance.md §3.2): their data is gone or going. */
const uncounted = new Set(['killed', 'deleted', 'pending_delete']);

const imagePage = z.object({
  images: z.array(
    z.object({
      id: z.string(),
      status: z.string(),
      owner: z.string().nullish(),
      size: z.int().nonnegative().nullish(),
      stores: z.string().optional(),
    }),
  ),
  next: z.string().optional(),
});

const usageAnswer = z.object({
  usage: z.object({ image_size_total: z.object({ usage: z.int().nonnegative() }).optional() }),
});

export type Ask = (target: string, caller: Caller) => Promise<Fetched>;

/**
 * Stored bytes as Glance counts them: over the images of the project, size times the number of stores.
 *
 * The exact figure comes from the image list. Where unified limits are on, `/v2/info/usage` gives the same sum in one
 * request, but floored to MiB, so it stands for the last byte that it may mean.
 */
export class GlanceUsage implements UsageSource {
  readonly #ask: Ask;
  /** Null = not asked yet. An API without unified limits answers an empty object, one before Yoga 404. */
  #knowsUsage: boolean | null = null;

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  async storedBytes(project: string, caller: Caller, precision: 'exact' | 'upper'): Promise<number> {
    if (precision === 'upper' && this.#knowsUsage !== false) {
      const upperBytes = await this.#upperBytes(caller);
      if (upperBytes !== null) return upperBytes;
    }
    // images that are hidden are not in the plain list, but in the quota
    return (
      (await this.#listedBytes(project, caller, false)) + (await this.#listedBytes(project, caller, true))
    );
  }

  async #upperBytes(caller: Caller): Promise<number | null> {
    const { status, body } = await this.#ask('/v2/info/usage', caller);
    refuseRefusal(status);
    const read = usageAnswer.safeParse(status === 200 ? parseJson(body) : null);
    const usedMiB = read.success ? read.data.usage.image_size_total?.usage : undefined;
    if (status < 500) this.#knowsUsage = usedMiB !== undefined;
    return usedMiB === undefined ? null : (usedMiB + 1) * MiB - 1;
  }

  async #listedBytes(project: string, caller: Caller, hidden: boolean): Promise<number> {
    const query = new URLSearchParams({
      owner: project,
      limit: String(pageLimit),
      sort: 'created_at:asc',
      os_hidden: String(hidden),
    });
    let target = `/v2/images?${query}`;
    let bytes = 0;
    for (let page = 0; page < mostPages; page += 1) {
      const { status, body } = await this.#ask(target, caller);
      refuseRefusal(status);
      const read = imagePage.safeParse(status === 200 ? parseJson(body) : null);
      if (!read.success)
        throw unavailable(`The API answered its image list with status ${status} and not with a list.`);
      for (const image of read.data.images) {
        // an older API may not know the filter, and an administrator sees everybody's
        if (image.owner !== project || uncounted.has(image.status)) continue;
        bytes += (image.size ?? 0) * copies(image.stores);
      }
      const { next } = read.data;
      if (next === undefined) return bytes;
      if (!next.startsWith('/v2/images?'))
        throw unavailable('The API points to a next page that is not its own.');
      target = next;
    }
    throw unavailable(`The image list has more than ${mostPages} pages.`);
  }
}

function copies(stores: string | undefined): number {
  return stores === undefined || stores === '' ? 1 : stores.split(',').length;
}

function refuseRefusal(status: number): void {
  if (status !== 401 && status !== 403) return;
  throw new GatewayError('credentials-refused', `The API answered ${status} when asked what is stored.`);
}

function unavailable(detail: string): GatewayError {
  return new GatewayError('usage-unavailable', detail);
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return null;
  }
}
