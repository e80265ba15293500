import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { createServer, isIP, isIPv4, isIPv6, type Server, SocketAddress } from 'node:net';
import { networkInterfaces } from 'node:os';
import { createSecureContext } from 'node:tls';
import { type StartEngine, sharedEngine } from '../lanes/kernel/shared-engine.ts';
import type { Certificate, ListenAddress } from './config.ts';
import { about } from './inspection.ts';
import type { Loaded } from './load.ts';
import { writeAddress } from './scalars.ts';
import type { ConfigError, Path } from './source.ts';

/**
 * Whether this machine can do what the configuration says: the names of the upstream servers resolve, to something else
 * than this gateway, the certificates are accepted, and the listeners can be bound. Binds and closes again, so nothing is listening afterwards.
 * @param more.ports false where the listeners are already ours: a configuration read again keeps them.
 * @param more.startEngine of the splice lane; that of the process if left out.
 */
export async function preflight(
  { config, locate }: Pick<Loaded, 'config' | 'locate'>,
  {
    ports = true,
    startEngine = sharedEngine,
  }: { readonly ports?: boolean; readonly startEngine?: StartEngine } = {},
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
  for (const [index, server] of config.upstream.servers.entries()) {
    for (const { address } of config.listen) {
      if (await leadsTo(server, address))
        report(['upstream', 'servers', index], `this gateway itself listens on ${writeAddress(address)}`);
    }
  }

  for (const [index, { tls }] of config.listen.entries()) {
    for (const [i, certificate] of (tls?.certificates ?? []).entries()) {
      const problem = contextProblem(certificate);
      const path = ['listen', index, 'tls', ...(i === 0 ? [] : ['certificates', i - 1]), 'cert'];
      if (problem !== null) report(path, problem);
    }
  }

  if (config.upload.lane === 'splice') {
    const problem = config.listen.some(({ tls }) => tls !== null)
      ? 'a listener has TLS, whose bytes the kernel does not see: auto splices the others'
      : await startEngine().then(
          () => null,
          (error: unknown) => `it cannot be had: ${error instanceof Error ? error.message : String(error)}`,
        );
    if (problem !== null) report(['upload', 'lane'], problem);
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

/** What the library of TLS itself has against a certificate: a key too short, a signature too weak. */
function contextProblem({ file, cert, key }: Certificate): string | null {
  try {
    createSecureContext({ cert, key });
    return null;
  } catch (error) {
    return `${file} is not accepted: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** Whether connections to the server come to this listener: one request would go in circles until none is left. */
async function leadsTo({ hostname, port, protocol }: URL, listening: ListenAddress): Promise<boolean> {
  if ('path' in listening) return false;
  if (Number(port || (protocol === 'https:' ? 443 : 80)) !== listening.port) return false;
  const bound = await addressesOf(listening.host);
  const there = await addressesOf(hostname.replace(/^\[(.*)\]$/, '$1'));
  return there.some((address) => bound.some((each) => reaches(address, each)));
}

/** Whether who connects to the one address comes to what is bound to the other. */
function reaches(address: string, bound: string): boolean {
  // connecting to the address that stands for all is connecting to this machine
  const to = address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address;
  if (to === bound) return true;
  const own = Object.values(networkInterfaces()).flatMap((each = []) => each.map((one) => one.address));
  const isOwn = own.includes(to) || to.startsWith('127.');
  // Node takes connections of IPv4 at `::` too
  return isOwn && (bound === '::' || (bound === '0.0.0.0' && isIPv4(to)));
}

/** In canonical form, those of IPv4 in IPv6 as what they are; none where the name does not resolve. */
async function addressesOf(host: string): Promise<string[]> {
  const found = await lookup(host, { all: true }).catch(() => []);
  return found.map(({ address }) => {
    const plain = isIPv6(address) ? new SocketAddress({ address, family: 'ipv6' }).address : address;
    return plain.replace(/^::ffff:(?=\d+\.)/, '');
  });
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
