/** What an application credential may do, as Keystone keeps it: one request pattern of one service. */
export interface AccessRule {
  readonly service: string;
  readonly method: string;
  /** `*` and `{name}` stand for one segment or a part of it, `**` for anything. */
  readonly path: string;
}

/**
 * Whether one of the rules lets the request through; read as keystonemiddleware reads them.
 * @param path the canonical path, without a query.
 */
export function permitted(
  rules: readonly AccessRule[],
  request: { readonly service: string; readonly method: string; readonly path: string },
): boolean {
  return rules.some(
    ({ service, method, path }) =>
      service === request.service && method === request.method && pattern(path).test(request.path),
  );
}

function pattern(path: string): RegExp {
  const source = path.replace(/\{[^}]*\}|\*\*|\*|[\s\S]/g, (token) => {
    if (token === '**') return '.*';
    if (token === '*' || (token.startsWith('{') && token.length > 1)) return '[^/]+';
    return token.replace(/[^A-Za-z0-9_/]/g, '\\$&');
  });
  return new RegExp(`^(?:${source})$`);
}
