import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { AccessRule } from '../core/access-rules.ts';

/** What Keystone says about a valid token. The token itself is not in it. */
export interface Token {
  readonly user: string;
  /** Null for tokens of a domain, of the system, or without a scope: none of them owns images. */
  readonly project: string | null;
  readonly roles: readonly string[];
  /** Milliseconds since 1970. */
  readonly expiresAtMs: number;
  /** Null where the token may do all that its user may. */
  readonly accessRules: readonly AccessRule[] | null;
}

/** Keystone's ids have 32 or 64 characters; a comma would make two of one where headers are joined. */
const id = z.string().regex(/^[!-+\--~]{1,255}$/);

// glance.md §4.1. An impersonating trust shows its trustor as `user`: who gave the trust pays.
const tokenDocument = z.object({
  token: z.object({
    user: z.object({ id }),
    project: z.object({ id }).nullish(),
    roles: z.array(z.object({ name: z.string() })).nullish(),
    expires_at: z.iso.datetime({ offset: true }),
    application_credential: z
      .object({
        access_rules: z
          .array(z.object({ service: z.string(), method: z.string(), path: z.string() }))
          .nullish(),
      })
      .nullish(),
  }),
});

/** The token that a document of Keystone's describes, or null if it is not one that we understand. */
export function readToken(document: unknown): Token | null {
  const read = tokenDocument.safeParse(document);
  if (!read.success) return null;
  const { user, project, roles, expires_at, application_credential } = read.data.token;
  return {
    user: user.id,
    project: project?.id ?? null,
    roles: roles?.map(({ name }) => name) ?? [],
    expiresAtMs: Date.parse(expires_at),
    accessRules: application_credential?.access_rules ?? null,
  };
}

/** What a token is remembered by: never the token itself. */
export const hashOf = (token: string): string => createHash('sha256').update(token).digest('base64');
