import { z } from 'zod';
import { MiB } from '../core/units.ts';
import type { KeystoneApi } from '../identity/keystone-api.ts';
import type { ServiceAccount } from '../identity/service-account.ts';
import type { LimitsSource, ProjectLimits } from './limits.ts';
import { bounded } from './usage-limits.ts';

const registered = z.object({
  resource_name: z.string(),
  default_limit: z.int().gte(-1),
  region_id: z.string().nullish(),
});
const own = z.object({
  resource_name: z.string(),
  resource_limit: z.int().gte(-1),
  project_id: z.string().nullish(),
  region_id: z.string().nullish(),
});

/**
 * Keystone's unified limits, read by the service account: a project's own limit, else the registered default, else
 * nothing may be stored, as Glance reads it with `use_keystone_limits` (glance.md §3.3).
 */
export class KeystoneLimits implements LimitsSource {
  readonly dependsOnCaller = false;
  readonly #api: KeystoneApi;
  readonly #account: ServiceAccount;
  /** Null = limits without a region, and of all regions. */
  readonly #region: string | null;

  constructor(api: KeystoneApi, account: ServiceAccount, region: string | null) {
    this.#api = api;
    this.#account = account;
    this.#region = region;
  }

  async limitsOf(project: string): Promise<ProjectLimits> {
    const [totalMiB, uploads] = await Promise.all([
      this.#limit('image_size_total', project),
      this.#limit('image_count_uploading', project),
    ]);
    return { totalBytes: totalMiB * MiB, uploads };
  }

  async #limit(resource: string, project: string): Promise<number> {
    const secret = await this.#account.systemSecret();
    const query = new URLSearchParams({ resource_name: resource });
    const ofProject = new URLSearchParams({ resource_name: resource, project_id: project });
    const [defaults, limits] = await Promise.all([
      this.#api.list(`/registered_limits?${query}`, 'registered_limits', registered, secret),
      this.#api.list(`/limits?${ofProject}`, 'limits', own, secret),
    ]);
    // filters that Keystone does not know it ignores, so what comes back is looked at again
    const here = ({
      resource_name,
      region_id,
    }: {
      resource_name: string;
      region_id?: string | null | undefined;
    }) =>
      resource_name === resource &&
      (this.#region === null || region_id == null || region_id === this.#region);
    const set = limits.filter((limit) => here(limit) && limit.project_id === project);
    const values =
      set.length > 0
        ? set.map(({ resource_limit }) => resource_limit)
        : defaults.filter(here).map(({ default_limit }) => default_limit);
    return values.length === 0 ? 0 : Math.min(...values.map(bounded));
  }
}
