import { z } from 'zod';
import { GatewayError } from '../core/errors.ts';
import { MiB } from '../core/units.ts';
import { type Fetched, parsedJson } from '../http/ask.ts';
import type { Caller } from '../usage/usage.ts';
import { type LimitsSource, noLimits, type ProjectLimits } from './limits.ts';

const limit = z.object({ limit: z.int().gte(-1) }).optional();
const usageAnswer = z.object({ usage: z.object({ image_size_total: limit, image_count_uploading: limit }) });

/**
 * The limits that Glance shows at `/v2/info/usage` (24.0 and later): those of unified limits, in MiB, for the project
 * of the caller's own token. Where unified limits are off, Glance shows none, and none there are.
 */
export class GlanceUsageLimits implements LimitsSource {
  readonly dependsOnCaller = true;
  readonly #ask: (target: string, caller: Caller) => Promise<Fetched>;

  constructor(ask: (target: string, caller: Caller) => Promise<Fetched>) {
    this.#ask = ask;
  }

  async limitsOf(project: string, caller: Caller): Promise<ProjectLimits> {
    // an administrator at the image of another project: Glance would tell the limits of the administrator's own
    if (caller.project !== project) return noLimits;
    const answer = await this.#ask('/v2/info/usage', caller);
    const { status } = answer;
    if (status === 404) return noLimits;
    if (status === 401 || status === 403) {
      throw new GatewayError(
        'credentials-refused',
        `The API answered ${status} when asked what may be stored.`,
      );
    }
    const read = status === 200 ? usageAnswer.safeParse(parsedJson(answer)) : null;
    if (!read?.success) {
      throw new GatewayError(
        'limits-unavailable',
        `The API answered ${status} when asked what may be stored.`,
      );
    }
    const { image_size_total: total, image_count_uploading: uploading } = read.data.usage;
    return { totalBytes: bounded(total?.limit) * MiB, uploads: bounded(uploading?.limit) };
  }
}

/** -1 is no limit (oslo.limit). */
export const bounded = (limit: number | undefined): number =>
  limit === undefined || limit === -1 ? Infinity : limit;
