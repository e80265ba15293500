import { execFile } from 'node:child_process';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { callerFields } from '../measure/caller.ts';

const image = '6f1ed002-ab5d-4b4b-8f6e-2f3a1c1d0e5f';
const framings = { length: [], chunked: ['-H', 'Transfer-Encoding: chunked'] } as const;
const run = promisify(execFile);

/** An answer that curl is to read while it uploads. */
export interface ExpectedAnswer {
  readonly status: number;
  readonly says: string;
}

/**
 * Uploads a file with curl.
 * @returns true if it read status and body of the answer. What curl calls an error beside that does not matter.
 */
export async function hearsAnswer(
  port: number,
  file: string,
  framing: keyof typeof framings,
  { status, says }: ExpectedAnswer,
): Promise<boolean> {
  const url = `http://127.0.0.1:${port}/v2/images/${image}/file`;
  const fields = ['Expect:', ...callerFields].flatMap((field) => ['-H', field]);
  const args = ['-s', '-m', '60', '-w', '\n%{http_code}', ...fields, ...framings[framing], '-T', file, url];
  const { stdout } = await run('curl', args).catch((error: { stdout?: unknown }) => ({
    stdout: String(error.stdout),
  }));
  return stdout === `${says}\n${status}`;
}

/** Runs with a file of so many zero bytes, which takes no room. */
export async function withBodyFile(bytes: number, work: (file: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-early-'));
  try {
    const file = join(folder, 'body');
    await writeFile(file, '');
    await truncate(file, bytes);
    await work(file);
  } finally {
    await rm(folder, { recursive: true });
  }
}
