import type { Config, Limits } from './config/config.ts';
import { type AccountLimits, unlimited } from './core/account.ts';
import type { Owner } from './core/owner.ts';
import type { Charge } from './ledger/ledger.ts';

/** The accounts an upload is charged to: its project's, which pays for stored bytes too, and its user's. */
export function chargesOf(quota: Config['quota'], owner: Owner): Charge[] {
  return [
    {
      account: `project:${owner.project}`,
      limits: limitsOf(quota, 'project', owner.project),
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

/** In our files 0 means no limit; to the ledger `Infinity` does. */
const zeroIsNone = (limit: number | undefined): number | undefined => (limit === 0 ? Infinity : limit);
