import type { Config, Limits } from './config/config.ts';
import { type AccountLimits, unlimited } from './core/account.ts';
import type { Owner } from './core/owner.ts';
import type { Charge } from './ledger/ledger.ts';
import type { ProjectLimits } from './limits/limits.ts';

/**
 * The accounts an upload is charged to: its project's, which pays for stored bytes too, and its user's.
 * @param cloud what the cloud allows the project; of two limits the smaller one holds.
 */
export function chargesOf(quota: Config['quota'], owner: Owner, cloud: ProjectLimits): Charge[] {
  const own = limitsOf(quota, 'project', owner.project);
  return [
    {
      account: `project:${owner.project}`,
      limits: {
        totalBytes: Math.min(own.totalBytes, cloud.totalBytes),
        savingBytes: own.savingBytes,
        uploads: Math.min(own.uploads, cloud.uploads),
      },
      paysForStored: true,
    },
    {
      account: `user:${owner.user}`,
      // only a project has stored bytes: Glance keeps no user of an image
      limits: { ...limitsOf(quota, 'user', owner.user), totalBytes: Infinity },
      paysForStored: false,
    },
  ];
}

function limitsOf(
  { mode, limits, overrides }: Config['quota'],
  per: 'project' | 'user',
  id: string,
): AccountLimits {
  if (mode === 'off') return unlimited;
  const rules = limits.filter((rule) => rule.per === per);
  const own = overrides.get(id);
  const limit = (key: keyof Limits): number =>
    zeroIsNone(own?.[key]) ?? Math.min(Infinity, ...rules.map((rule) => zeroIsNone(rule[key]) ?? Infinity));
  return { totalBytes: limit('totalBytes'), savingBytes: limit('savingBytes'), uploads: limit('uploads') };
}

/** Whether the stored bytes of some project are limited, so that uploads must be admitted by what is stored. */
export function limitsStored({ mode, limits, overrides, cloudLimits }: Config['quota']): boolean {
  if (mode === 'off') return false;
  if (cloudLimits.source !== 'none') return true;
  return [...limits, ...overrides.values()].some(({ totalBytes }) => (totalBytes ?? 0) > 0);
}

/** In our files 0 means no limit; to the ledger `Infinity` does. */
const zeroIsNone = (limit: number | undefined): number | undefined => (limit === 0 ? Infinity : limit);
