import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { z } from 'zod';
import { ScratchContender } from './scratch-contender.ts';

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const run = promisify(execFile);

export const laneName = z.enum(['auto', 'stream', 'splice']);
export type LaneName = z.infer<typeof laneName>;

/** @param keystone the URL of Keystone, with `/v3`. */
export const sluice = (keystone: string, lane: LaneName): ScratchContender =>
  new ScratchContender({
    name: 'sluice',
    template: 'sluice.yaml',
    version: async () => `${(await run(process.execPath, [main, '--version'])).stdout.trim()}, lane ${lane}`,
    command: ({ file }) => [process.execPath, main, 'run', '-c', file],
    setup: async () => ({ values: { KEYSTONE: keystone, LANE: lane } }),
  });
