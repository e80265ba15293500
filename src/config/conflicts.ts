import { about, dotted, related, show } from './inspection.ts';
import type { Settings } from './options.ts';
import { writeAddress, writeSize } from './scalars.ts';
import type { Finding, Path } from './source.ts';

/** A finding about keys that do not go together; `with` names the others. */
interface Conflict extends Finding {
  readonly with: readonly Path[];
}

/**
 * What is wrong between keys that are each right.
 * @param left paths whose values could not be read: nothing is said about what depends on them.
 */
export const findConflicts = (settings: Settings, left: readonly Path[]): Finding[] =>
  [
    ...frames(settings),
    ...times(settings),
    ...limits(settings),
    ...cloudLimits(settings),
    ...rates(settings),
    ...addresses(settings),
    ...servers(settings),
    ...balancers(settings),
    ...headers(settings),
  ].filter(
    (conflict) => ![conflict.path, ...conflict.with].some((path) => left.some((each) => related(each, path))),
  );

function* frames({ upload }: Settings): Generator<Conflict> {
  const path = ['upload', 'frame_size'];
  const { frame_size: frameBytes, chunk_size: chunkBytes } = upload;
  if (frameBytes === undefined || frameBytes <= chunkBytes) return;
  yield {
    path,
    with: [['upload', 'chunk_size']],
    message: about(path, `${writeSize(frameBytes)} is above chunk_size, which is ${writeSize(chunkBytes)}`),
  };
}

function* times({ upload: { time_limit: limit } }: Settings): Generator<Conflict> {
  if (limit.per_gib === 0 || limit.base > 0) return;
  const path = ['upload', 'time_limit', 'per_gib'];
  const message = about(path, 'needs base above 0: without it a body of no bytes has no time');
  yield { path, with: [['upload', 'time_limit', 'base']], message };
}

function* limits({ quota, identity }: Settings): Generator<Conflict> {
  const source = ['quota', 'usage', 'source'];
  for (const [index, { per, total }] of quota.limits.entries()) {
    const rule = ['quota', 'limits', index];
    const perPath = [...rule, 'per'];
    const totalPath = [...rule, 'total'];
    if (quota.limits.findIndex((other) => other.per === per) < index) {
      yield { path: perPath, with: [], message: about(perPath, `a second entry for ${per}: put all in one`) };
    }
    if (total === 0) continue;
    if (per === 'user') {
      yield {
        path: totalPath,
        with: [perPath],
        message: about(
          totalPath,
          'stored bytes are read by project, so `per: user` has no total; use saving or uploads',
        ),
      };
    } else if (quota.usage.source === 'none') {
      yield { path: totalPath, with: [source], message: about(totalPath, totalWithoutUsage) };
    } else if (identity.source === 'none') {
      const message = about(totalPath, totalWithoutProjects);
      yield { path: totalPath, with: [['identity', 'source']], message };
    }
  }
}

function* cloudLimits({ quota, identity }: Settings): Generator<Conflict> {
  const path = ['quota', 'cloud_limits', 'source'];
  const { source } = quota.cloud_limits;
  if (source === 'none') return;
  if (quota.usage.source === 'none') {
    yield { path, with: [['quota', 'usage', 'source']], message: about(path, totalWithoutUsage) };
  }
  const account = ['identity', 'keystone', 'service_account'];
  if (source === 'keystone' && identity.keystone.service_account === undefined) {
    yield { path, with: [account], message: about(path, `keystone needs ${dotted(account)} to ask with`) };
  }
  if (source === 'usage' && identity.source === 'none') {
    yield {
      path,
      with: [['identity', 'source']],
      message: about(
        path,
        'usage tells the limits of a project, and with identity.source none there is none',
      ),
    };
  }
}

function* rates({ rate_limits: rules }: Settings): Generator<Conflict> {
  for (const [index, { action, per, interval }] of rules.entries()) {
    const first = rules.findIndex(
      (other) => other.action === action && other.per === per && other.interval === interval,
    );
    if (first === index) continue;
    const path = ['rate_limits', index];
    const message = about(path, `limits what rate_limits[${first}] limits, in the same interval`);
    yield { path, with: [['rate_limits', first]], message };
  }
}

export const totalWithoutProjects =
  'with identity.source none there is no project whose stored bytes could be read, so a total cannot be kept';

export const totalWithoutUsage =
  'with quota.usage.source none nothing says what is stored, so a total cannot be kept';

function* addresses({ listen, admin }: Settings): Generator<Conflict> {
  const taken = new Map<string, Path>();
  const places: [Path, Settings['admin']['address']][] = [
    ...listen.map((each, index): [Path, typeof each.address] => [['listen', index, 'address'], each.address]),
    [['admin', 'address'], admin.address],
  ];
  for (const [path, address] of places) {
    const written = writeAddress(address);
    const first = taken.get(written);
    if (first === undefined) taken.set(written, path);
    else if (!('port' in address && address.port === 0)) {
      yield { path, with: [first], message: about(path, `${written} is already that of ${dotted(first)}`) };
    }
  }
}

function* servers({ upstream }: Settings): Generator<Conflict> {
  for (const [index, { href }] of upstream.servers.entries()) {
    const first = upstream.servers.findIndex((other) => other.href === href);
    if (first === index) continue;
    const path = ['upstream', 'servers', index];
    const firstPath = ['upstream', 'servers', first];
    yield {
      path,
      with: [firstPath],
      message: about(path, `${new URL(href).origin} is already ${dotted(firstPath)}`),
    };
  }
}

/** A PROXY header is taken from trusted peers only: without any, nobody could connect. */
function* balancers({ listen, trusted_proxies: trusted }: Settings): Generator<Conflict> {
  for (const [index, { address, proxy_protocol: demanded }] of listen.entries()) {
    const isUnix = 'path' in address;
    if (!demanded || trusted.some((network) => (network === 'unix') === isUnix)) continue;
    const path = ['listen', index, 'proxy_protocol'];
    const wanted = isUnix ? '`unix` in trusted_proxies' : 'the networks of the balancers in trusted_proxies';
    yield {
      path,
      with: [['trusted_proxies'], ['listen', index, 'address']],
      message: about(path, `needs ${wanted}: nobody else may send a PROXY header`),
    };
  }
}

function* headers({ identity }: Settings): Generator<Conflict> {
  const { user, project } = identity.headers;
  if (user.toLowerCase() !== project.toLowerCase()) return;
  const path = ['identity', 'headers', 'project'];
  yield {
    path,
    with: [['identity', 'headers', 'user']],
    message: about(path, `${show(project)} already names the user`),
  };
}
