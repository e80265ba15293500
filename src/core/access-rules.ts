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
      service === request.service && method === request.method && matches(path, request.path),
  );
}

/** What a pattern is made of: plain characters, `*` or `{name}` (at least one character, no slash), `**` (anything). */
type Token = string | typeof one | typeof any;
const one = Symbol('one segment or a part of it');
const any = Symbol('anything');

/**
 * Matches in time proportional to the length of path times pattern: the pattern is whatever a user wrote, and a
 * backtracking regular expression with many stars would hold up the process for ever.
 */
function matches(pattern: string, path: string): boolean {
  // states reached after the path so far: places in the list of tokens
  const tokens = tokensOf(pattern);
  let reached = closure(new Set([0]), tokens);
  for (const character of path) {
    const next = new Set<number>();
    for (const place of reached) {
      const token = tokens[place];
      if (token === any) next.add(place);
      else if (token === one) {
        if (character !== '/') next.add(place).add(place + 1);
      } else if (token === character) next.add(place + 1);
    }
    reached = closure(next, tokens);
    if (reached.size === 0) return false;
  }
  return reached.has(tokens.length);
}

/** `**` may stand for nothing, so whoever is before it is behind it too. */
function closure(places: Set<number>, tokens: readonly Token[]): Set<number> {
  for (const place of places) if (tokens[place] === any) places.add(place + 1);
  return places;
}

function tokensOf(pattern: string): Token[] {
  const parts = pattern.match(/\{[^}]*\}|\*\*|[\s\S]/gu) ?? [];
  return parts.map((part) => {
    if (part === '**') return any;
    return part === '*' || (part.startsWith('{') && part.length > 1) ? one : part;
  });
}
