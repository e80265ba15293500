import { z } from 'zod';
import { actions, imageActions, type Profile } from '../core/profile.ts';
import { about, inspect } from './inspection.ts';
import { choice, count, flag, headerName, list, mapping, text } from './scalars.ts';
import type { Finding, Path } from './source.ts';

const literal = /^[A-Za-z0-9._~!$&'()*+,;=:@-]+$/;
const placeholder = /^\{[a-z][a-z0-9_]*\}$/;

/** What is wrong with a path pattern, or null. */
function patternProblem(path: string): string | null {
  if (!path.startsWith('/')) return 'expected a path that begins with "/"';
  if (path === '/') return null;
  const segments = path.slice(1).split('/');
  const wrong = segments.find(
    (segment) => segment === '.' || segment === '..' || !(literal.test(segment) || placeholder.test(segment)),
  );
  if (wrong === '') return 'a path has no empty segment and no "/" at its end';
  if (wrong !== undefined) return `a segment is literal text or one {name}; "${wrong}" is neither`;
  const names = segments.filter((segment) => segment.startsWith('{'));
  return new Set(names).size < names.length ? 'each {name} may stand once in a path' : null;
}

const pathPattern = () => {
  const error = 'expected a path that begins with "/"';
  return z.string({ error }).check((context) => {
    const message = patternProblem(context.value);
    if (message !== null) context.issues.push({ code: 'custom', message, input: context.value });
  });
};

const expression = () => {
  const error = 'expected a regular expression';
  return z.codec(z.string({ error }).min(1, { error }), z.instanceof(RegExp), {
    decode: (written, context) => {
      try {
        return new RegExp(`^(?:${written})$`);
      } catch {
        context.issues.push({ code: 'custom', message: error, input: written });
        return z.NEVER;
      }
    },
    encode: ({ source }) => source,
  });
};

const hasNoOtherName = (path: string): boolean => !path.replace('{image}', '').includes('{');

const hasImage = (path: string): boolean => path.split('/').includes('{image}');

const route = mapping({
  method: text('a method in capitals, or "*"', /^(?:\*|[A-Z][A-Z0-9-]*)$/),
  path: pathPattern(),
  action: choice(actions),
  upgrade: z.optional(flag()),
});

const profileSchema = mapping({
  name: text('a name'),
  routes: list(route, 'route'),
  unlisted: z.prefault(choice(['pass', 'forbid']), 'pass'),
  image_id: expression(),
  image_id_case: z.prefault(choice(['lower', 'exact']), 'exact'),
  version_alias: z.optional(
    z.nullable(
      mapping({
        canonical: text('one segment of a path', literal),
        pattern: expression(),
      }),
    ),
  ),
  version_in_accept: z.optional(z.nullable(text('text'))),
  method_override: z.optional(z.nullable(text('the name of a query parameter'))),
  size_header: z.optional(z.nullable(headerName())),
  success: z.prefault(list(count({ min: 200, max: 299 }), 'status'), [200, 201, 204]),
  status: z.optional(
    z.nullable(
      mapping({
        path: pathPattern().refine(hasImage, { error: 'needs {image}' }),
        field: text('the name of a member'),
        owner: z.optional(z.nullable(text('the name of a member'))),
        stored: list(text('a status of an image'), 'status'),
        not_stored: list(text('a status of an image')),
      }),
    ),
  ),
  preflight: z.optional(
    z.nullable(
      mapping({
        method: z.prefault(choice(['GET', 'HEAD']), 'GET'),
        path: pathPattern().refine(hasNoOtherName, { error: 'takes no {name} but {image}' }),
        success: z.prefault(list(count({ min: 200, max: 299 }), 'status'), [200]),
      }),
    ),
  ),
});

/** The content of a profile file. `profile` is null when there are findings. */
export function readProfile(value: unknown): {
  readonly profile: Profile | null;
  readonly findings: readonly Finding[];
} {
  const { data, findings } = inspect(profileSchema, value ?? {});
  if (data === null) return { profile: null, findings };
  const all = [...findings, ...routeConflicts(data.routes), ...statusConflicts(data.status ?? null)];
  if (all.length > 0) return { profile: null, findings: all };
  const { version_alias: alias, status: lookup } = data;
  const profile: Profile = {
    name: data.name,
    routes: data.routes.map(({ upgrade, ...rest }) => (upgrade === undefined ? rest : { ...rest, upgrade })),
    unlisted: data.unlisted,
    imageId: data.image_id,
    imageIdCase: data.image_id_case,
    versionAlias: alias ?? null,
    versionInAccept: data.version_in_accept ?? null,
    methodOverride: data.method_override ?? null,
    sizeHeader: data.size_header?.toLowerCase() ?? null,
    success: data.success,
    status: lookup
      ? {
          path: lookup.path,
          field: lookup.field,
          owner: lookup.owner ?? null,
          stored: lookup.stored,
          notStored: lookup.not_stored,
        }
      : null,
    preflight: data.preflight ?? null,
  };
  return { profile, findings: [] };
}

function* routeConflicts(routes: z.output<typeof profileSchema>['routes']): Generator<Finding> {
  const seen = new Map<string, number>();
  for (const [index, { method, path, action }] of routes.entries()) {
    const at: Path = ['routes', index, 'path'];
    if (imageActions.includes(action) && !hasImage(path)) {
      yield { path: at, message: about(at, `a route of action ${action} needs {image} in its path`) };
    }
    const form = `${method} ${path.replaceAll(/\{[^}]*\}/g, '{}')}`;
    const first = seen.get(form);
    if (first === undefined) seen.set(form, index);
    else yield { path: at, message: about(at, `${method} with this path is already routes[${first}]`) };
  }
}

function* statusConflicts(lookup: z.output<typeof profileSchema>['status'] | null): Generator<Finding> {
  for (const [index, word] of (lookup?.not_stored ?? []).entries()) {
    if (!lookup?.stored.includes(word)) continue;
    const path: Path = ['status', 'not_stored', index];
    yield { path, message: about(path, `"${word}" is also in status.stored`) };
  }
}
