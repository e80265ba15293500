import { z } from 'zod';
import type { Limits } from './config.ts';
import { inspect } from './inspection.ts';
import { count, mapping, size } from './scalars.ts';
import type { Finding } from './source.ts';

const overridesSchema = z.record(
  z.string(),
  mapping({
    total: z.optional(size()),
    saving: z.optional(size()),
    uploads: z.optional(count()),
  }),
  { error: 'expected a mapping of project and user ids' },
);

export type Overrides = ReadonlyMap<string, Partial<Limits>>;

/** The content of the file that `quota.overrides` names: limits by project or user id. An empty file is none. */
export function readOverrides(value: unknown): {
  readonly overrides: Overrides;
  readonly findings: readonly Finding[];
} {
  const { data, findings } = inspect(overridesSchema, value ?? {});
  const overrides = Object.entries(data ?? {}).map(
    ([id, { total, saving, uploads }]): [string, Partial<Limits>] => [
      id,
      {
        ...(total !== undefined && { totalBytes: total }),
        ...(saving !== undefined && { savingBytes: saving }),
        ...(uploads !== undefined && { uploads }),
      },
    ],
  );
  return { overrides: new Map(overrides), findings };
}
