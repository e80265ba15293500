/**
 * What a route means to the gateway.
 * `upload` and `stage` are metered; `delete` cancels the uploads of its image; `import`, `update`, `locations` and
 * `task` may bring in data that goes round the gateway, so their bodies are judged; `change` changes an image's record,
 * as `import`, `update` and `locations` do, and waits its turn where stored bytes are limited; `forbid` is refused;
 * the others are passed through and named in logs and metrics.
 */
export const actions = [
  'upload',
  'stage',
  'import',
  'update',
  'locations',
  'task',
  'change',
  'delete',
  'download',
  'create',
  'forbid',
  'pass',
] as const;

export type Action = (typeof actions)[number];

/** Actions whose image must be known: their routes have `{image}`, and take it in its canonical form only. */
export const imageActions: readonly Action[] = [
  'upload',
  'stage',
  'import',
  'update',
  'locations',
  'change',
  'delete',
];

/** Actions after which the API saves the record of the image. */
export const changingActions: readonly Action[] = ['import', 'update', 'locations', 'change'];

/** Actions that the gateway acts upon itself, and so may meet under their one canonical path only. */
export const guardedActions: readonly Action[] = [...imageActions, 'task', 'forbid'];

export interface Route {
  /** An HTTP method in capitals, or `*` for any. */
  readonly method: string;
  /** Segments after the first `/`; `{image}` stands for the image id, `{name}` for any other one segment. */
  readonly path: string;
  readonly action: Action;
  /** True lets `Upgrade` requests of this route through. Default false. */
  readonly upgrade?: boolean;
}

/** How an image of the API is looked up, and what the answer means for an upload of unknown outcome. */
export interface StatusLookup {
  /** A path with `{image}`, asked with GET; 404 means the image is gone. */
  readonly path: string;
  /** The member of the JSON answer that holds the status. */
  readonly field: string;
  /** The member that names the project whose image it is, and who so pays for its bytes; null where there is none. */
  readonly owner: string | null;
  readonly stored: readonly string[];
  readonly notStored: readonly string[];
}

/**
 * A cheap request that the API answers with a refusal where it would refuse an upload: with a token that it does not
 * believe, for an image that is not there.
 */
export interface PreflightRequest {
  readonly method: 'GET' | 'HEAD';
  /** A path with `{image}` or without. */
  readonly path: string;
  /** Statuses that mean: go on. */
  readonly success: readonly number[];
}

/** A table of what an API's requests mean. Glance's is built in; others are files (design §6). */
export interface Profile {
  readonly name: string;
  readonly routes: readonly Route[];
  /** What happens to a path that no route matches. */
  readonly unlisted: 'pass' | 'forbid';
  /** What the id of an image looks like, in lower case where `imageIdCase` is `lower`. */
  readonly imageId: RegExp;
  /** `lower`: ids in other case name no other image, and are refused. `exact`: case tells images apart. */
  readonly imageIdCase: 'lower' | 'exact';
  /** First path segments that mean the same as `canonical` and are rewritten to it, e.g. `v2.9` to `v2`. */
  readonly versionAlias: { readonly canonical: string; readonly pattern: RegExp } | null;
  /** An `Accept` that contains this (any case) chooses the version of the API and is refused. */
  readonly versionInAccept: string | null;
  /** A query that contains this name (decoded, any case) overrides the method and is refused. */
  readonly methodOverride: string | null;
  /** The header, in lower case, by which a client declares the size of a body sent in chunks. */
  readonly sizeHeader: string | null;
  /** Statuses of the API's answer to an upload that mean: stored. */
  readonly success: readonly number[];
  readonly status: StatusLookup | null;
  /** Null where the API has none. */
  readonly preflight: PreflightRequest | null;
}
