import { z } from 'zod';
import { GatewayError } from '../core/errors.ts';
import { type Fetched, parsedJson } from '../http/ask.ts';
import type { Caller } from './usage.ts';

/** Glance's `api_limit_max`: the longest page it gives. */
const pageLimit = 1000;
/** Nobody can read more images than this: 10 million. A list that goes round in circles ends here too. */
const mostPages = 10_000;

export type Ask = (target: string, caller: Caller) => Promise<Fetched>;

/**
 * The images of the API that meet the filters, as the caller may see them, page after page.
 * @param image what is needed of each; one without it makes the page unreadable.
 * @throws GatewayError `credentials-refused`, `usage-unavailable`, or as `ask` does.
 */
export async function* imageList<Image extends z.ZodType>(
  ask: Ask,
  caller: Caller,
  filters: Readonly<Record<string, string>>,
  image: Image,
): AsyncGenerator<z.output<Image>> {
  const imagePage = z.object({ images: z.array(image), next: z.string().optional() });
  const query = new URLSearchParams({ ...filters, limit: String(pageLimit) });
  let target = `/v2/images?${query}`;
  for (let page = 0; page < mostPages; page += 1) {
    const answer = await ask(target, caller);
    refuseRefusal(answer.status);
    const read = imagePage.safeParse(answer.status === 200 ? parsedJson(answer) : null);
    if (!read.success)
      throw unavailable(`The API answered its image list with status ${answer.status} and not with a list.`);
    yield* read.data.images;
    const { next } = read.data;
    if (next === undefined) return;
    if (!next.startsWith('/v2/images?'))
      throw unavailable('The API points to a next page that is not its own.');
    target = next;
  }
  throw unavailable(`The image list has more than ${mostPages} pages.`);
}

/** @throws GatewayError `credentials-refused` for 401 and 403. */
export function refuseRefusal(status: number): void {
  if (status !== 401 && status !== 403) return;
  throw new GatewayError('credentials-refused', `The API answered ${status} when asked what is stored.`);
}

export function unavailable(detail: string): GatewayError {
  return new GatewayError('usage-unavailable', detail);
}
