import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { type Contender, ContenderUnavailable, direct } from '../measure/contender.ts';
import { nodeProxy } from './node-proxy.ts';
import { Peer, type PeerKind } from './peer.ts';
import { sluice } from './sluice.ts';

const packageSchema = z.object({ name: z.string().optional(), version: z.string().optional() });

/** Of a package that is installed here. */
function installedVersion(name: string): string {
  // packages may hide their package.json: it stands above whatever they do export
  for (let folder = dirname(createRequire(import.meta.url).resolve(name)); ; folder = dirname(folder)) {
    try {
      const read = packageSchema.parse(JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')));
      if (read.name === name && read.version !== undefined) return read.version;
    } catch (error) {
      if (folder === dirname(folder)) throw error;
    }
  }
}

/** A program of Node's, which can be told to collect its garbage. */
function nodeContender(name: string, kind: PeerKind, version: () => string): Contender {
  return {
    name,
    version: async () => version(),
    async start({ originPort }) {
      const peer = await Peer.start(kind, originPort).catch((error: unknown) => {
        throw new ContenderUnavailable(error instanceof Error ? error.message : String(error));
      });
      return {
        port: peer.port,
        pids: [peer.pid],
        collectGarbage: () => peer.collectGarbage(),
        stop: () => peer.stop(),
      };
    },
  };
}

const ownVersion = (): string =>
  packageSchema.parse(JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')))
    .version ?? '';

/** Compared by small requests only, where a connection for each of them is what makes the difference. */
export const ofSmallRequests: readonly Contender[] = [
  nodeContender('http-proxy as installed', nodeProxy('http-proxy-as-installed'), () =>
    installedVersion('http-proxy'),
  ),
];

/** Everybody who is compared, in the order of the tables. */
export const contenders: readonly Contender[] = [
  nodeContender('sluice splice', sluice('splice'), ownVersion),
  nodeContender('sluice stream', sluice('stream'), ownVersion),
  direct,
  nodeContender('http-proxy', nodeProxy('http-proxy'), () => installedVersion('http-proxy')),
  nodeContender('http-proxy-3', nodeProxy('http-proxy-3'), () => installedVersion('http-proxy-3')),
  nodeContender('httpxy', nodeProxy('httpxy'), () => installedVersion('httpxy')),
  nodeContender('undici', nodeProxy('undici'), () => installedVersion('undici')),
  nodeContender('@fastify/reply-from', nodeProxy('reply-from'), () =>
    installedVersion('@fastify/reply-from'),
  ),
  nodeContender('fast-proxy', nodeProxy('fast-proxy'), () => installedVersion('fast-proxy')),
];
