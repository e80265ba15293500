import { execFile } from 'node:child_process';
import type { Owner } from './owner.ts';
import { keystoneUrl } from './stack.ts';

export interface ProgramEnd {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line client logged in as `owner`; it finds the image service through the catalog. */
export function runAs(owner: Owner, command: string, args: readonly string[]): Promise<ProgramEnd> {
  const env = {
    ...process.env,
    OS_AUTH_URL: keystoneUrl,
    OS_AUTH_TYPE: 'password',
    OS_IDENTITY_API_VERSION: '3',
    OS_IMAGE_API_VERSION: '2',
    OS_REGION_NAME: 'RegionOne',
    OS_USER_DOMAIN_NAME: 'Default',
    OS_PROJECT_DOMAIN_NAME: 'Default',
    OS_USERNAME: owner.login.user,
    OS_PASSWORD: owner.login.password,
    OS_PROJECT_NAME: owner.login.project,
  };
  return new Promise((resolve, reject) => {
    // Debian's clients, not others that may come earlier in PATH
    const child = execFile(
      `/usr/bin/${command}`,
      [...args],
      { env, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        if (error !== null && typeof error.code !== 'number') reject(error);
        else resolve({ status: Number(error?.code ?? 0), stdout, stderr });
      },
    );
    child.stdin?.end();
  });
}
