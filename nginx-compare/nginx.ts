import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freePort } from '../bench/measure/free-port.ts';
import { PeerProcess } from './peer-process.ts';
import { ScratchContender, type ScratchKind, type Setup } from './scratch-contender.ts';

const run = promisify(execFile);
const service = fileURLToPath(new URL('../dist/nginx-compare/quota-service.js', import.meta.url));

/** Started by root, nginx would let go of root's rights, and with them of its scratch folder. */
const workersUser = process.getuid?.() === 0 ? 'root' : 'nobody';

const nginx = (name: string, template: string, setup: NonNullable<ScratchKind['setup']>): ScratchContender =>
  new ScratchContender({
    name,
    template,
    // nginx tells its version on standard error
    version: async () => /nginx\/\S+/.exec((await run('nginx', ['-v'])).stderr)?.[0] ?? 'unknown',
    command: ({ file, folder }) => ['nginx', '-p', folder, '-e', join(folder, 'error.log'), '-c', file],
    setup,
  });

const scratch = (folder: string) => ({ SCRATCH: folder, USER: workersUser });
/** How these were found is in the README. */
const tuned = { BODY_BUFFER: '4m', ANSWER_BUFFER: '1m', ANSWER_BUSY: '2m' };

export const asInstalled = (): ScratchContender =>
  nginx('nginx as installed', 'nginx-as-installed.conf', async (folder) => ({ values: scratch(folder) }));

export const unbuffered = (): ScratchContender =>
  nginx('nginx, buffering off', 'nginx-unbuffered.conf', async (folder) => ({
    values: scratch(folder),
  }));

export const tunedNginx = (workers: 1 | 2): ScratchContender =>
  nginx(`nginx tuned, ${workers} worker${workers > 1 ? 's' : ''}`, 'nginx-tuned.conf', async (folder) => ({
    values: { ...scratch(folder), ...tuned, WORKERS: workers },
  }));

/** With a service beside it that knows tokens and counts bytes: what one would build instead. */
/** @param limitBytes that a project may store. */
export const withQuotaService = (keystone: string, limitBytes = 2 ** 52): ScratchContender =>
  nginx('nginx + quota service', 'nginx-auth-request.conf', async (folder): Promise<Setup> => {
    const port = await freePort();
    const command = [process.execPath, service, `${port}`, keystone, `${limitBytes}`] as const;
    const beside = [await PeerProcess.start({ command, port, file: join(folder, 'quota-service.log') })];
    return { values: { ...scratch(folder), ...tuned, WORKERS: 1, QUOTA: port }, beside };
  });
