import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { ScratchContender } from './scratch-contender.ts';

const server = fileURLToPath(new URL('../dist/nginx-compare/http-proxy-server.js', import.meta.url));
const manifest = createRequire(import.meta.url).resolve('http-proxy/package.json');

/** @param connections to the API: kept, or closed after each request, as without an agent. */
export const httpProxy = (connections: 'kept' | 'closed'): ScratchContender =>
  new ScratchContender({
    name: connections === 'kept' ? 'http-proxy, kept alive' : 'http-proxy',
    template: null,
    version: async () => {
      const { version } = z
        .object({ version: z.string() })
        .parse(JSON.parse(await readFile(manifest, 'utf8')));
      return version;
    },
    command: ({ port, originPort }) => [process.execPath, server, `${port}`, `${originPort}`, connections],
  });
