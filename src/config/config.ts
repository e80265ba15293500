import type { ImportWay } from '../core/import-request.ts';
import type { LeastRate } from '../core/least-rate.ts';
import type { Profile } from '../core/profile.ts';
import type { RateRule } from '../core/rate-limit.ts';
import type { TimeLimit } from '../core/time-limit.ts';

/** Where a listener waits: a TCP address or the path of a unix socket. */
export type ListenAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/** A certificate with its private key, as text: both are read again with the configuration. */
export interface Certificate {
  /** Where it was read. */
  readonly file: string;
  /** PEM, its chain included. */
  readonly cert: string;
  /** PEM. Never logged, never printed. */
  readonly key: string;
  /** Names for which it is shown; `*.` stands for one first part. */
  readonly names: readonly string[];
  /** Of the whole chain: when the last one begins and the first one ends, in milliseconds since 1970. */
  readonly validFromMs: number;
  readonly validToMs: number;
}

export interface ListenerTls {
  /** At least one. The first is shown where no name fits. */
  readonly certificates: readonly Certificate[];
  /** PEM of the authorities whose client certificates are demanded; null where none is. */
  readonly clientCa: string | null;
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
}

export interface ListenerConfig {
  readonly address: ListenAddress;
  /** Null for plain HTTP. */
  readonly tls: ListenerTls | null;
  /** Each connection has to come from `trustedProxies` and to begin with a PROXY header. */
  readonly proxyProtocol: boolean;
}

/** Limits of one account. 0 = no limit. */
export interface Limits {
  /** Stored + saving bytes. */
  readonly totalBytes: number;
  /** Bytes in flight. */
  readonly savingBytes: number;
  /** Uploads at once. */
  readonly uploads: number;
}

export type ImportRule = 'pass' | 'unless-limited' | 'refuse';

export interface LimitRule extends Limits {
  readonly per: 'project' | 'user';
}

/**
 * The effective configuration: what the file says, defaults filled in, units resolved, frozen.
 * `docs/configuration.md` has one row for each key. 0 = no limit, for every limit.
 */
export interface Config {
  readonly listen: readonly ListenerConfig[];
  readonly admin: { readonly address: ListenAddress };
  readonly httpKeepalive: boolean;
  readonly clientSocketTimeoutMs: number;
  readonly clientHeaderTimeoutMs: number;
  /** Null = none. */
  readonly clientMinRate: LeastRate | null;
  readonly maxConnections: number;
  /** At once in this process. */
  readonly maxUploads: number;
  /** Of bodies, in the memory of this process at once. */
  readonly maxBufferedBytes: number;
  /** The largest body of a request that is no upload. */
  readonly maxBodyBytes: number;
  /** How long and how much of a refused body is read and thrown away so that the client can read the answer. */
  readonly lingering: { readonly timeMs: number; readonly bytes: number };
  /** CIDRs (or single addresses) whose X-Forwarded-For and PROXY headers are believed. */
  readonly trustedProxies: readonly string[];
  readonly shutdownGraceMs: number;
  readonly api: Profile;
  readonly upstream: {
    /** Origins, e.g. `http://127.0.0.1:9292`; at least one, and none twice. */
    readonly servers: readonly URL[];
    readonly serverKind: 'eventlet' | 'uwsgi' | 'generic';
    readonly connectTimeoutMs: number;
    readonly responseTimeoutMs: number;
    /** How long an unused connection is kept; from `serverKind`. */
    readonly idleTimeoutMs: number;
    readonly health: {
      readonly path: string;
      readonly intervalMs: number;
      readonly timeoutMs: number;
      readonly unhealthyAfter: number;
      readonly healthyAfter: number;
      /** Requests in a row that came to nothing; 0 = never. */
      readonly ejectAfter: number;
      readonly ejectMs: number;
    };
  };
  readonly upload: {
    readonly chunkBytes: number;
    readonly frameBytes: number;
    readonly flushAfterMs: number;
    readonly chunkTimeoutMs: number;
    readonly timeLimit: TimeLimit;
    /** How the upstream is asked, before the first byte of a body, whether it would take it. */
    /** `auto`: through the kernel where that can be had. */
    readonly lane: 'auto' | 'stream' | 'splice';
    /** Of known length, with less than this to come: streamed. */
    readonly spliceFromBytes: number;
    readonly preflight: 'none' | 'expect' | 'request';
    /** How long the answer to the request of a preflight may take. */
    readonly preflightTimeoutMs: number;
    /** How long `100 Continue` of the upstream is waited for. */
    readonly continueWaitMs: number;
    readonly maxBytes: number;
    readonly watchIntervalMs: number;
    /** How long bytes of unknown outcome stay counted when the API never says. */
    readonly unknownHoldMs: number;
    /** How long an image must have been seen without data before its unknown upload is given back. */
    readonly unknownConfirmMs: number;
  };
  readonly identity: {
    readonly source: 'keystone' | 'headers' | 'none';
    /** Roles of which one lets a caller upload into the image of another project. */
    readonly adminRoles: readonly string[];
    readonly headers: {
      /** Header names in lower case. */
      readonly user: string;
      readonly project: string;
      readonly trustedFrom: readonly string[];
    };
    readonly keystone: {
      readonly url: URL;
      readonly cacheTtlMs: number;
      readonly cacheSize: number;
      readonly timeoutMs: number;
      /** What clients are told in `WWW-Authenticate`. */
      readonly authenticateUri: string;
      readonly serviceType: string;
      readonly serviceRoles: readonly string[];
      /** Networks whose `X-Service-Token` is looked at and sent on. */
      readonly serviceTokensFrom: readonly string[];
      /** Null where the gateway has no account of its own. */
      readonly serviceAccount: {
        readonly user: string;
        readonly userDomain: string;
        readonly project: string;
        readonly projectDomain: string;
        readonly password: string;
      } | null;
    };
  };
  readonly quota: {
    readonly mode: 'enforce' | 'log' | 'off';
    readonly limits: readonly LimitRule[];
    /** By project or user id: the limits that differ from the rules above. */
    readonly overrides: ReadonlyMap<string, Partial<Limits>>;
    readonly usage: { readonly source: 'glance' | 'none'; readonly ttlMs: number };
    /** What the cloud says may be stored; of two limits the smaller one holds. `region` null = any. */
    readonly cloudLimits: {
      readonly source: 'none' | 'usage' | 'keystone';
      readonly ttlMs: number;
      readonly region: string | null;
    };
  };
  /** How images that were left in `saving` are looked for. */
  readonly orphans: { readonly intervalMs: number; readonly leastAgeMs: number };
  /** What becomes of each way of bringing in data round the gateway; `unless-limited` where no project has a total. */
  readonly import: Readonly<Record<ImportWay, ImportRule>>;
  readonly rateLimits: readonly RateRule[];
  readonly log: {
    readonly level: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace';
    readonly access: boolean;
  };
}
