import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stackDirectory } from './stack.ts';

/** Every token and password of this run, by what it is. */
const issued = new Map<string, string>();
/** What somebody other than the one who sent the secret could read: error bodies and the pages of operators. */
const published: { readonly where: string; readonly text: string }[] = [];

/** Remembers a secret for the end of the run, and gives it back. */
export function secret(what: string, value: string): string {
  issued.set(value, what);
  return value;
}

/** Keeps a text that no secret may be in. */
export function publish(where: string, text: string): void {
  published.push({ where, text });
}

/** How many secrets and texts there are to hold against each other. */
export function secretsKept(): { readonly secrets: number; readonly texts: number } {
  return { secrets: issued.size, texts: published.length };
}

/** Where a secret, or a run of 32 characters out of one, stands in a published text or in a log of a gateway. */
export async function leaks(): Promise<string[]> {
  const found: string[] = [];
  for (const { where, text } of [...published, ...(await gatewayLogs())]) {
    for (const [value, what] of issued) {
      if (pieces(value).some((piece) => text.includes(piece))) found.push(`${what} in ${where}`);
    }
  }
  return found;
}

const pieceLength = 32;

function pieces(value: string): string[] {
  if (value.length <= pieceLength) return [value];
  const all: string[] = [];
  for (let at = 0; at + pieceLength <= value.length; at += pieceLength) {
    all.push(value.slice(at, at + pieceLength));
  }
  return all;
}

async function gatewayLogs(): Promise<{ readonly where: string; readonly text: string }[]> {
  const directory = join(stackDirectory, 'log');
  const names = (await readdir(directory)).filter((name) => name.startsWith('gateway'));
  return await Promise.all(
    names.map(async (name) => ({ where: name, text: await readFile(join(directory, name), 'utf8') })),
  );
}
