import { GatewayError } from './errors.ts';
import { parseTarget, type RequestTarget } from './path.ts';
import { type Action, guardedActions, imageActions, type Profile, type Route } from './profile.ts';

/** What a request means to the gateway, and what of it goes upstream. */
export interface Operation {
  /** Never `forbid`: that is thrown. */
  readonly action: Action;
  /** The path pattern of the route that matched, or `other`: few enough to be a label of metrics. */
  readonly route: string;
  /** The canonical id of the image. Null where the route has none, or where one that is only passed on names something else. */
  readonly image: string | null;
  /**
   * Path and query to send upstream: exactly what was matched against the table, never another spelling of it.
   * An alias of the version stands here as the canonical version, on every route and on unlisted paths too, so
   * that the API sees the path that was judged. The query is as given.
   */
  readonly target: string;
  /** Whether the route lets protocol upgrades through. */
  readonly upgrade: boolean;
}

export interface RequestHead {
  readonly method: string;
  /** As it stood in the request line. */
  readonly target: string;
  /** All `Accept` fields joined with commas, as the API will read them. */
  readonly accept: string | undefined;
}

/**
 * Says what a request is, by the profile's closed table of canonical paths.
 *
 * A path is matched as it is spelt; only the aliases of the version are rewritten. A path that does not match
 * a route with an action of ours, but would if it were read more loosely (in another case, decoded again,
 * without parameters or a trailing slash, as another spelling of the version), is refused: a server that reads
 * it so would do what we did not account for.
 *
 * @throws GatewayError `request-invalid`, `method-unsupported`, `target-invalid`, `target-ambiguous`, `version-in-accept`,
 *   `method-override`, `route-forbidden`, `image-id-malformed`, `image-id-not-canonical`.
 */
export function classify(profile: Profile, head: RequestHead): Operation {
  return compileProfile(profile).classify(head);
}

const routers = new WeakMap<Profile, Router>();

/**
 * The profile's table made ready for look-ups, once for each profile value.
 * @throws Error for a table that cannot work: a path without leading slash, an image named twice, or not
 *   named at all where the action needs one.
 */
export function compileProfile(profile: Profile): Router {
  const known = routers.get(profile);
  if (known !== undefined) return known;
  const router = new Router(profile);
  routers.set(profile, router);
  return router;
}

/** A profile's routes as a tree of segments, so that a look-up walks the path once whatever the table's length. */
export class Router {
  readonly #profile: Profile;
  readonly #strict: PathTree;
  readonly #loose: PathTree;
  readonly #imageId: RegExp;
  readonly #versionAlias: RegExp | null;
  readonly #versionLookalike: RegExp | null;
  readonly #versionInAccept: string | null;
  readonly #methodOverride: string | null;

  constructor(profile: Profile) {
    this.#profile = profile;
    const routes = profile.routes.map(compileRoute);
    this.#strict = plant(routes, (literal) => literal);
    this.#loose = plant(routes, (literal) => literal.toLowerCase());
    this.#imageId = wholly(profile.imageId);
    this.#versionAlias = profile.versionAlias && wholly(profile.versionAlias.pattern);
    this.#versionLookalike = profile.versionAlias && lookalike(profile.versionAlias.canonical.toLowerCase());
    this.#versionInAccept = profile.versionInAccept?.toLowerCase() ?? null;
    this.#methodOverride = profile.methodOverride?.toLowerCase() ?? null;
  }

  /** See the function of the same name. */
  classify({ method, target, accept }: RequestHead): Operation {
    // methods are case-sensitive to HTTP but not to every router: `put` must not be another word for PUT
    if (!/^[A-Z][A-Z-]*$/.test(method)) {
      throw new GatewayError('request-invalid', 'The method is not written in capitals.');
    }
    // RFC 9110 §9.3.8: it brings the request back, tokens and what a proxy adds included
    if (method === 'TRACE') {
      throw new GatewayError('method-unsupported', 'TRACE is not passed on.');
    }
    const given = parseTarget(target);
    this.#refuseVersionInAccept(accept);
    this.#refuseMethodOverride(given.query);

    const segments = this.#canonicalVersion(given.segments);
    const route = find(this.#strict, segments, method);
    this.#refuseLookalike(given, segments, method, route);
    const action = route?.route.action ?? this.#profile.unlisted;
    if (action === 'forbid') {
      throw new GatewayError('route-forbidden', 'The configuration of the gateway forbids this request.');
    }
    return {
      action,
      route: route?.route.path ?? 'other',
      image: route === null ? null : this.#image(route, segments),
      target: segments === given.segments ? target : `/${segments.join('/')}${given.query}`,
      upgrade: route?.route.upgrade ?? false,
    };
  }

  #refuseVersionInAccept(accept: string | undefined): void {
    if (this.#versionInAccept === null || accept === undefined) return;
    if (accept.toLowerCase().includes(this.#versionInAccept)) {
      throw new GatewayError('version-in-accept', 'Name the version of the API in the path.');
    }
  }

  #refuseMethodOverride(query: string): void {
    const name = this.#methodOverride;
    if (name === null || query === '') return;
    for (const reading of [query, ...decodings(query.replaceAll('+', ' '))]) {
      if (!reading.toLowerCase().includes(name)) continue;
      throw new GatewayError('method-override', 'Send the method in the request line.');
    }
  }

  #canonicalVersion(segments: readonly string[]): readonly string[] {
    const { versionAlias } = this.#profile;
    const first = segments[0] ?? '';
    if (versionAlias === null || first === versionAlias.canonical || !this.#versionAlias?.test(first)) {
      return segments;
    }
    return [versionAlias.canonical, ...segments.slice(1)];
  }

  #refuseLookalike(
    given: RequestTarget,
    segments: readonly string[],
    method: string,
    strict: CompiledRoute | null,
  ): void {
    const loosened = this.#loosened(given.path, segments);
    if (loosened === null) return;
    const loose = find(this.#loose, loosened, method);
    if (loose !== null && loose !== strict && guardedActions.includes(loose.route.action)) {
      throw new GatewayError(
        'target-ambiguous',
        `The path looks like ${loose.route.path} but is not spelt so.`,
      );
    }
  }

  /** The path as the laxest server might read it; null where every server reads it as it stands. */
  #loosened(path: string, segments: readonly string[]): readonly string[] | null {
    const { versionAlias } = this.#profile;
    const versionPlain =
      segments[0] === versionAlias?.canonical || !this.#versionLookalike?.test(segments[0] ?? '');
    if (versionPlain && !/[A-Z%;]|\/$/.test(path)) return null;
    const loosened = looselyRead(path);
    const first = loosened[0];
    if (versionAlias !== null && first !== undefined) {
      if (this.#versionLookalike?.test(first) || this.#versionAlias?.test(first)) {
        loosened[0] = versionAlias.canonical.toLowerCase();
      }
    }
    return loosened;
  }

  #image({ route, imageIndex }: CompiledRoute, segments: readonly string[]): string | null {
    if (imageIndex === -1) return null;
    const id = segments[imageIndex] ?? '';
    const canonical = this.#profile.imageIdCase === 'lower' ? id.toLowerCase() : id;
    const wellFormed = this.#imageId.test(canonical);
    if (!imageActions.includes(route.action)) return wellFormed && id === canonical ? id : null;
    if (!wellFormed) throw new GatewayError('image-id-malformed', 'No image of this API has such an id.');
    // whatever the profile's pattern allows: an escape or a parameter is a second spelling of the same id
    if (id !== canonical || /[%;]/.test(id)) {
      throw new GatewayError('image-id-not-canonical', 'Write the image id as the API writes it.');
    }
    return id;
  }
}

interface CompiledRoute {
  readonly route: Route;
  /** Place in the profile's table: the first match wins. */
  readonly order: number;
  readonly segments: readonly string[];
  /** Which segment is the image id; -1 if none is. */
  readonly imageIndex: number;
}

interface PathTree {
  readonly literals: Map<string, PathTree>;
  /** What follows a placeholder, which any one segment but an empty one fills. */
  placeholder: PathTree | null;
  /** Routes that end here, in the order of the table. */
  readonly ends: CompiledRoute[];
}

const emptyTree = (): PathTree => ({ literals: new Map(), placeholder: null, ends: [] });
const isPlaceholder = (segment: string): boolean => /^\{.*\}$/.test(segment);

function compileRoute(route: Route, order: number): CompiledRoute {
  if (!route.path.startsWith('/')) throw new Error(`route ${route.path}: a path begins with a slash`);
  const segments = route.path.slice(1).split('/');
  const imageIndex = segments.indexOf('{image}');
  if (imageIndex !== segments.lastIndexOf('{image}'))
    throw new Error(`route ${route.path}: {image} stands twice`);
  if (imageIndex === -1 && imageActions.includes(route.action)) {
    throw new Error(`route ${route.path}: action ${route.action} needs {image} in the path`);
  }
  return { route, order, segments, imageIndex };
}

function plant(routes: readonly CompiledRoute[], spell: (literal: string) => string): PathTree {
  const root = emptyTree();
  for (const route of routes) {
    let tree = root;
    for (const segment of route.segments) {
      let next: PathTree;
      if (isPlaceholder(segment)) {
        next = tree.placeholder ??= emptyTree();
      } else {
        next = tree.literals.get(spell(segment)) ?? emptyTree();
        tree.literals.set(spell(segment), next);
      }
      tree = next;
    }
    tree.ends.push(route);
  }
  return root;
}

/** The first route of the table with this method and path, or null. */
function find(tree: PathTree, segments: readonly string[], method: string, depth = 0): CompiledRoute | null {
  const segment = segments[depth];
  if (segment === undefined) {
    return tree.ends.find(({ route }) => route.method === method || route.method === '*') ?? null;
  }
  const next = tree.literals.get(segment);
  const literal = next === undefined ? null : find(next, segments, method, depth + 1);
  if (tree.placeholder === null || segment === '') return literal;
  const placeholder = find(tree.placeholder, segments, method, depth + 1);
  if (literal === null || placeholder === null) return literal ?? placeholder;
  return literal.order < placeholder.order ? literal : placeholder;
}

/** The same pattern for the whole of a string, and without the flags that give a RegExp a memory. */
const wholly = ({ source, flags }: RegExp): RegExp =>
  new RegExp(`^(?:${source})$`, flags.replace(/[gmy]/g, ''));

/** `v2` as it may be meant by `v02`, `v2.`, `v2.05` or a minor version that does not exist yet. */
function lookalike(canonical: string): RegExp {
  const escaped = canonical.replace(/[^a-z0-9]/g, '\\$&').replace(/\d+/g, '0*$&');
  return new RegExp(`^${escaped}(?:\\..*)?$`, 's');
}

/** How often a percent sign may be encoded again before the path is refused. */
const maxDecodings = 4;

/** What percent-decoding gives, again and again until nothing is left to decode, or `maxDecodings` times. */
function decodings(text: string): string[] {
  const results: string[] = [];
  let encoded = text;
  while (encoded.includes('%') && results.length < maxDecodings) {
    const decoded = encoded.replace(/(?:%[0-9a-f]{2})+/gi, decodeRun);
    if (decoded === encoded) break;
    results.push(decoded);
    encoded = decoded;
  }
  return results;
}

function decodeRun(run: string): string {
  try {
    return decodeURIComponent(run);
  } catch {
    // not UTF-8: byte by byte, which is all that matters for the ASCII among it
    return run.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  }
}

function looselyRead(path: string): string[] {
  const readings = decodings(path);
  if (readings.length === maxDecodings) {
    throw new GatewayError('target-ambiguous', 'The path is percent-encoded over and over.');
  }
  const decoded = readings.at(-1) ?? path;
  if (/\p{Cc}/u.test(decoded)) {
    throw new GatewayError('target-ambiguous', 'The path holds an encoded control character.');
  }
  const segments = decoded
    // a path that is decoded twice may turn out to hold a query; NFKC folds full-width letters, dots and slashes
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[?#].*$/s, '')
    .split(/[/\\]/)
    .map((segment) => segment.replace(/;.*$/s, '').trim())
    .filter((segment) => segment !== '');
  if (segments.some((segment) => segment === '.' || segment === '..')) {
    throw new GatewayError('target-ambiguous', 'The path holds a dot segment.');
  }
  return segments;
}
