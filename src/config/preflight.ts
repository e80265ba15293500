import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { createServer, isIP, type Server } from 'node:net';
import type { ListenAddress } from './config.ts';
import { about } from './inspection.ts';
import type { Loaded } from './load.ts';
import { writeAddress } from './scalars.ts';
import type { ConfigError, Path } from './source.ts';

/**
 * Whether this machine can do what the configuration says: the names of the upstream servers resolve and
 * the listeners can be bound. Binds and closes again, so nothing is listening afterwards.
 * @param more.ports false where the listeners are already ours: a configuration read again keeps them.
 */
export async function preflight(
  { config, locate }: Pick<Loaded, 'config' | 'locate'>,
  { ports = true }: { readonly ports?: boolean } = {},
): Promise<readonly ConfigError[]> {
  const errors: ConfigError[] = [];
  const report = (path: Path, message: string) =>
    errors.push({ ...locate(path), message: about(path, message) });

  const { source, keystone } = config.identity;
  const asksKeystone =
    source === 'keystone' ||
    config.quota.cloudLimits.source === 'keystone' ||
    keystone.serviceAccount !== null;
  const peers: [Path, URL][] = [
    ...config.upstream.servers.map((server, index): [Path, URL] => [['upstream', 'servers', index], server]),
    ...(asksKeystone ? [[['identity', 'keystone', 'url'], keystone.url] satisfies [Path, URL]] : []),
  ];
  for (const [path, { hostname }] of peers) {
    const problem = await resolutionProblem(hostname);
    if (problem !== null) report(path, problem);
  }

  const bound: Server[] = [];
  const places: [Path, ListenAddress][] = [
    ...config.listen.map(({ address }, index): [Path, ListenAddress] => [
      ['listen', index, 'address'],
      address,
    ]),
    [['admin', 'address'], config.admin.address],
  ];
  try {
    // all are held at once, so that two which exclude each other are found
    for (const [path, address] of ports ? places : []) {
      const server = createServer();
      try {
        server.listen('path' in address ? { path: address.path } : { ...address, exclusive: true });
        await once(server, 'listening');
        bound.push(server);
      } catch (error) {
        report(path, bindProblem(address, codeOf(error)));
      }
    }
  } finally {
    await Promise.all(bound.map((server) => once(server.close(), 'close')));
  }
  return errors.toSorted((one, other) => one.line - other.line || one.column - other.column);
}

async function resolutionProblem(hostname: string): Promise<string | null> {
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  if (isIP(host) !== 0) return null;
  try {
    await lookup(host);
    return null;
  } catch (error) {
    return `the name ${host} does not resolve (${codeOf(error)})`;
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : String(error);

const bindProblems: Readonly<Record<string, string>> = {
  EADDRINUSE: 'it is in use',
  EADDRNOTAVAIL: 'this machine does not have the address',
  EACCES: 'permission denied',
  ENOTFOUND: 'the name does not resolve',
};

function bindProblem(address: ListenAddress, code: string): string {
  const reasons: Readonly<Record<string, string>> =
    'path' in address
      ? {
          EADDRINUSE: 'the file exists: a gateway is running, or one that was killed left it; then remove it',
          EACCES: 'its folder does not exist or may not be written',
        }
      : bindProblems;
  const reason = reasons[code];
  return `cannot listen on ${writeAddress(address)}: ${reason === undefined ? code : `${reason} (${code})`}`;
}
