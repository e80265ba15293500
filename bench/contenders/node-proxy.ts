import { fileURLToPath } from 'node:url';
import type { PeerKind } from './peer.ts';

/** A proxy of `proxies/`, each as its own documentation sets it up, in a process of plain Node. */
export const nodeProxy = (name: string): PeerKind => ({
  configuration: (port, upstreamPort) => {
    const program = fileURLToPath(new URL(`proxies/${name}.mjs`, import.meta.url));
    return `import { serve } from '${program}';\nserve(${port}, ${upstreamPort});\n`;
  },
  command: (file) => [process.execPath, file],
});
