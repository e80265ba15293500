import { dirname, resolve } from 'node:path';
import { Document, isCollection, visit } from 'yaml';
import { z } from 'zod';
import { glance } from '../api/glance.ts';
import type { Profile } from '../core/profile.ts';
import { readAuthorities, readCertificate } from './certificate.ts';
import type { Certificate, Config, ListenerConfig } from './config.ts';
import { findConflicts, totalWithoutProjects, totalWithoutUsage } from './conflicts.ts';
import { about, inspect, nearest, show } from './inspection.ts';
import { options, type Settings, serverKindDefaults, type WrittenOptions } from './options.ts';
import { type Overrides, readOverrides } from './overrides.ts';
import { readProfile } from './profile.ts';
import {
  type ConfigError,
  type Finding,
  formatConfigError,
  type Locate,
  type Path,
  parseSource,
  readText,
  type Source,
} from './source.ts';

/** A configuration that holds together. */
export interface Loaded {
  /** Frozen through and through. */
  readonly config: Config;
  /** The same in the shape of the file, paths made absolute: what `effectiveYaml` writes. */
  readonly settings: Settings;
  /** Where a key stands in the file, for what is found wrong later. */
  readonly locate: Locate;
}

export type LoadResult = Loaded | { readonly errors: readonly ConfigError[] };

/** Reads a configuration file and the files that it names. All errors at once, in the order of the file; never throws. */
export function loadConfig(file: string): LoadResult {
  const read = readText(file);
  if ('problem' in read) return { errors: [{ file, line: 1, column: 1, message: read.problem }] };
  const source = parseSource(file, read.text);
  return 'errors' in source ? source : assemble(source, dirname(file));
}

/**
 * The same for a value in the shape of a file.
 * @param baseFolder where relative paths in it begin.
 */
export const parseConfig = (value: unknown, baseFolder = '.'): LoadResult =>
  assemble({ value, locate: () => ({ file: 'configuration', line: 1, column: 1 }) }, baseFolder);

/**
 * The defaults with some changes, for code that brings its own configuration.
 * @throws Error naming everything that is wrong with the changes.
 */
export function defaultConfig(changes: WrittenOptions = {}, baseFolder = '.'): Config {
  const result = parseConfig(changes, baseFolder);
  if ('config' in result) return result.config;
  throw new Error(result.errors.map(({ message }) => message).join('\n'));
}

/** The configuration in effect as a file: every key, in readable units. It loads to the same `Config`. */
export function effectiveYaml(settings: Settings): string {
  const document = new Document(z.encode(options, settings));
  visit(document, {
    // a list of plain values, or one small mapping in a list, reads best on one line
    Seq: (_, seq) => {
      for (const item of seq.items) if (isCollection(item)) item.flow = true;
      seq.flow = !seq.items.some(isCollection);
    },
  });
  return document.toString({ lineWidth: 0 });
}

function assemble({ value, locate }: Source, baseFolder: string): LoadResult {
  const errors: ConfigError[] = [];
  const report = (findings: readonly Finding[], place: Locate) =>
    errors.push(...inOrder(findings.map(({ path, at, message }) => ({ ...place(path, at), message }))));

  const { data, findings, left } = inspect(options, value ?? {});
  // without a mapping at the top there is nothing more to look at
  if (data === null) {
    report(findings, locate);
    return { errors };
  }
  const beside: ((place: typeof report) => void)[] = [];
  const open = (path: Path, file: string): Source | Finding | null => {
    const read = readText(file);
    if ('problem' in read) return { path, message: about(path, `${file} ${read.problem}`) };
    const source = parseSource(file, read.text);
    if (!('errors' in source)) return source;
    beside.push(() => errors.push(...inOrder(source.errors)));
    return null;
  };

  const all = [...findings, ...findConflicts(data, left)];
  let profile: Profile | null = glance;
  let api = data.api;
  if (isPath(api)) {
    api = resolve(baseFolder, api);
    const source = open(['api'], api);
    profile = null;
    if (source !== null && 'message' in source) all.push(source);
    else if (source !== null) {
      const read = readProfile(source.value);
      profile = read.profile;
      beside.push((place) => place(read.findings, source.locate));
    }
  } else if (api !== glance.name) {
    const meant = nearest(api, [glance.name]);
    const hint = meant === undefined ? '' : `; did you mean ${show(meant)}?`;
    const message = `no built-in profile is called ${show(api)}${hint} (the path of a profile file has a "/" or ends in .yaml)`;
    all.push({ path: ['api'], message: about(['api'], message) });
  }

  let overrides: Overrides = new Map();
  let overridesFile = data.quota.overrides;
  if (overridesFile !== '') {
    const path = ['quota', 'overrides'];
    overridesFile = resolve(baseFolder, overridesFile);
    const source = open(path, overridesFile);
    if (source !== null && 'message' in source) all.push(source);
    else if (source !== null) {
      const read = readOverrides(source.value);
      overrides = read.overrides;
      const why =
        data.quota.usage.source === 'none'
          ? totalWithoutUsage
          : data.identity.source === 'none'
            ? totalWithoutProjects
            : null;
      const useless = why === null ? [] : totals(overrides, why);
      beside.push((place) => place([...read.findings, ...useless], source.locate));
    }
  }

  let password = '';
  const account = data.identity.keystone.service_account;
  let passwordFile = account?.password_file;
  if (passwordFile !== undefined) {
    const path = ['identity', 'keystone', 'service_account', 'password_file'];
    passwordFile = resolve(baseFolder, passwordFile);
    const read = readText(passwordFile);
    // an editor ends the last line, and no password
    if ('text' in read) password = read.text.replace(/\r?\n$/, '');
    const problem = 'problem' in read ? read.problem : password === '' ? 'is empty' : null;
    if (problem !== null) all.push({ path, message: about(path, `${passwordFile} ${problem}`) });
  }

  const listening = listeners(data, baseFolder);
  all.push(...listening.findings);

  if (data.upload.preflight === 'request' && profile !== null && profile.preflight === null) {
    const path = ['upload', 'preflight'];
    const message = `the profile ${show(profile.name)} has no request for it (preflight)`;
    all.push({ path, message: about(path, message) });
  }

  report(all, locate);
  for (const each of beside) each(report);
  if (errors.length > 0 || profile === null) return { errors };

  const frameBytes = Math.min(
    data.upload.frame_size ?? serverKindDefaults[data.upstream.server_kind].frameBytes,
    data.upload.chunk_size,
  );
  const settings: Settings = {
    ...data,
    listen: listening.settings,
    api,
    upload: { ...data.upload, frame_size: frameBytes },
    quota: { ...data.quota, overrides: overridesFile },
    ...(account !== undefined &&
      passwordFile !== undefined && {
        identity: {
          ...data.identity,
          keystone: {
            ...data.identity.keystone,
            service_account: { ...account, password_file: passwordFile },
          },
        },
      }),
  };
  return {
    config: frozen(
      configOf(settings, {
        listen: listening.listen,
        frameBytes,
        api: profile,
        overrides,
        password,
      }),
    ),
    settings,
    locate,
  };
}

/** The listeners with the files that they name, and the same in the shape of the file, paths made absolute. */
function listeners(
  { listen }: Settings,
  baseFolder: string,
): { listen: ListenerConfig[]; settings: Settings['listen']; findings: Finding[] } {
  const findings: Finding[] = [];
  const complain = (path: Path, message: string) => findings.push({ path, message: about(path, message) });
  const absolute = listen.map((each) => {
    if (each.tls === undefined) return each;
    const { cert, key, client_ca: clientCa, certificates } = each.tls;
    const tls = {
      ...each.tls,
      cert: resolve(baseFolder, cert),
      key: resolve(baseFolder, key),
      ...(clientCa !== undefined && { client_ca: resolve(baseFolder, clientCa) }),
      certificates: certificates.map((one) => ({
        ...one,
        cert: resolve(baseFolder, one.cert),
        key: resolve(baseFolder, one.key),
      })),
    };
    return { ...each, tls };
  });
  const read = absolute.map(({ address, tls, proxy_protocol: proxyProtocol }, index): ListenerConfig => {
    if (tls === undefined) return { address, tls: null, proxyProtocol };
    const path = ['listen', index, 'tls'];
    const certificates: Certificate[] = [];
    for (const [place, files, needsNames] of [
      [path, { ...tls, names: [] }, false] as const,
      ...tls.certificates.map((each, i) => [[...path, 'certificates', i], each, true] as const),
    ]) {
      const result = readCertificate(files, needsNames);
      if ('message' in result) complain([...place, result.key], result.message);
      else certificates.push(result);
    }
    const authorities = tls.client_ca === undefined ? null : readAuthorities(tls.client_ca);
    if (authorities !== null && 'problem' in authorities)
      complain([...path, 'client_ca'], authorities.problem);
    const clientCa = authorities !== null && 'text' in authorities ? authorities.text : null;
    return { address, tls: { certificates, clientCa, minVersion: tls.min_version }, proxyProtocol };
  });
  return { listen: read, settings: absolute, findings };
}

const isPath = (api: string): boolean => api.includes('/') || /\.(?:ya?ml|json)$/.test(api);

const totals = (overrides: Overrides, why: string): Finding[] =>
  [...overrides]
    .filter(([, { totalBytes = 0 }]) => totalBytes > 0)
    .map(([id]) => ({ path: [id, 'total'], message: about([id, 'total'], why) }));

const inOrder = (errors: readonly ConfigError[]): ConfigError[] =>
  errors.toSorted((one, other) => one.line - other.line || one.column - other.column);

function configOf(
  settings: Settings,
  beside: {
    listen: readonly ListenerConfig[];
    frameBytes: number;
    api: Profile;
    overrides: Overrides;
    password: string;
  },
): Config {
  const { upstream, upload, identity, quota, lingering, client_min_rate: minRate } = settings;
  const { listen, frameBytes, api, overrides, password } = beside;
  const { keystone } = identity;
  const account = keystone.service_account;
  return {
    listen,
    admin: settings.admin,
    httpKeepalive: settings.http_keepalive,
    clientSocketTimeoutMs: settings.client_socket_timeout,
    clientHeaderTimeoutMs: settings.client_header_timeout,
    clientMinRate:
      minRate.bytes === 0 ? null : { bytes: minRate.bytes, perMs: minRate.per, graceMs: minRate.grace },
    maxConnections: settings.max_connections,
    maxUploads: settings.max_uploads,
    maxBufferedBytes: settings.max_buffered,
    maxBodyBytes: settings.max_body,
    lingering: { timeMs: lingering.time, bytes: lingering.bytes },
    trustedProxies: settings.trusted_proxies,
    shutdownGraceMs: settings.shutdown_grace,
    api,
    upstream: {
      servers: upstream.servers,
      serverKind: upstream.server_kind,
      connectTimeoutMs: upstream.connect_timeout,
      responseTimeoutMs: upstream.response_timeout,
      idleTimeoutMs: serverKindDefaults[upstream.server_kind].idleTimeoutMs,
      health: {
        path: upstream.health.path,
        intervalMs: upstream.health.interval,
        timeoutMs: upstream.health.timeout,
        unhealthyAfter: upstream.health.unhealthy_after,
        healthyAfter: upstream.health.healthy_after,
        ejectAfter: upstream.health.eject_after,
        ejectMs: upstream.health.eject_time,
      },
    },
    upload: {
      chunkBytes: upload.chunk_size,
      frameBytes,
      flushAfterMs: upload.flush_after,
      chunkTimeoutMs: upload.chunk_timeout,
      timeLimit: { baseMs: upload.time_limit.base, perGibMs: upload.time_limit.per_gib },
      lane: upload.lane,
      spliceFromBytes: upload.splice_from,
      preflight: upload.preflight,
      preflightTimeoutMs: upload.preflight_timeout,
      continueWaitMs: upload.continue_wait,
      maxBytes: upload.max_size,
      watchIntervalMs: upload.watch_interval,
      unknownHoldMs: upload.unknown_hold,
      unknownConfirmMs: upload.unknown_confirm,
    },
    identity: {
      source: identity.source,
      adminRoles: identity.admin_roles,
      headers: {
        user: identity.headers.user.toLowerCase(),
        project: identity.headers.project.toLowerCase(),
        trustedFrom: identity.headers.trusted_from,
      },
      keystone: {
        url: new URL(keystone.url),
        cacheTtlMs: keystone.cache_ttl,
        cacheSize: keystone.cache_size,
        timeoutMs: keystone.timeout,
        authenticateUri: new URL(keystone.www_authenticate_uri ?? keystone.url).href.replace(/\/$/, ''),
        serviceType: keystone.service_type,
        serviceRoles: keystone.service_roles,
        serviceTokensFrom: keystone.service_tokens_from,
        serviceAccount:
          account === undefined
            ? null
            : {
                user: account.user,
                userDomain: account.user_domain,
                project: account.project,
                projectDomain: account.project_domain,
                password,
              },
      },
    },
    quota: {
      mode: quota.mode,
      limits: quota.limits.map(({ per, total, saving, uploads }) => ({
        per,
        totalBytes: total,
        savingBytes: saving,
        uploads,
      })),
      overrides,
      usage: { source: quota.usage.source, ttlMs: quota.usage.ttl },
      cloudLimits: {
        source: quota.cloud_limits.source,
        ttlMs: quota.cloud_limits.ttl,
        region: quota.cloud_limits.region ?? null,
      },
    },
    orphans: { intervalMs: settings.orphans.interval, leastAgeMs: settings.orphans.min_age },
    import: {
      'glance-direct': settings.import.glance_direct,
      'web-download': settings.import.web_download,
      'copy-image': settings.import.copy_image,
      'glance-download': settings.import.glance_download,
      tasks: settings.import.tasks,
      locations: settings.import.locations,
    },
    rateLimits: settings.rate_limits.map(({ action, per, requests, interval }) => ({
      action,
      per,
      requests,
      intervalMs: interval,
    })),
    log: settings.log,
  };
}

/** Freezes a value with all that it holds. A map loses its ways to change; a `URL` cannot be frozen from outside. */
function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  if (value instanceof Map) {
    for (const each of value.values()) frozen(each);
    const refuse = () => {
      throw new TypeError('the configuration is frozen');
    };
    for (const change of ['set', 'delete', 'clear']) Object.defineProperty(value, change, { value: refuse });
  }
  for (const each of Object.values(value)) frozen(each);
  return Object.freeze(value);
}

export { type ConfigError, formatConfigError };
