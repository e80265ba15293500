import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The path of a file that certificates/make.sh has made. */
export const certificateFile = (name: string): string =>
  fileURLToPath(new URL(`certificates/${name}`, import.meta.url));

export const certificateText = (name: string): string => readFileSync(certificateFile(name), 'utf8');

/** The authority of all certificates here but `mallory`'s and `weak`. */
export const caOfTests = certificateText('authority.pem');

/** `cert` and `key` as a configuration has them. */
export const certified = (name: string): { cert: string; key: string } => ({
  cert: certificateFile(`${name}.pem`),
  key: certificateFile(`${name}.key`),
});

/** The same as clients give them to Node. */
export const identityOf = (name: string): { cert: string; key: string } => ({
  cert: certificateText(`${name}.pem`),
  key: certificateText(`${name}.key`),
});
