import { createPrivateKey, X509Certificate } from 'node:crypto';
import { namePattern } from '../core/server-name.ts';
import type { Certificate, Config } from './config.ts';
import { writeAddress } from './scalars.ts';
import { readText } from './source.ts';

/** What is wrong, and with the file of which key. */
export interface CertificateProblem {
  readonly key: 'cert' | 'key';
  readonly message: string;
}

const pemCertificate = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/**
 * Reads a certificate with its chain and its private key. Both may stand in one file, as HAProxy wants them.
 * @param names the names that it is for; none: those that stand in it.
 */
export function readCertificate(
  { cert: certFile, key: keyFile, names }: { cert: string; key: string; names: readonly string[] },
  needsNames: boolean,
): Certificate | CertificateProblem {
  const chain = readChain(certFile);
  if ('problem' in chain) return { key: 'cert', message: chain.problem };
  const [leaf] = chain.certificates;
  if (leaf === undefined) return { key: 'cert', message: `${certFile} has no certificate in it` };
  const key = readText(keyFile);
  if ('problem' in key) return { key: 'key', message: `${keyFile} ${key.problem}` };
  const problem = keyProblem(leaf, key.text);
  if (problem !== null) return { key: 'key', message: `${keyFile} ${problem}` };
  const found = names.length > 0 ? names : namesIn(leaf);
  if (needsNames && found.length === 0) {
    return { key: 'cert', message: `${certFile} has no DNS name in it: say names` };
  }
  return {
    file: certFile,
    cert: chain.text,
    key: key.text,
    names: found,
    validFromMs: Math.max(...chain.certificates.map(({ validFrom }) => Date.parse(validFrom))),
    validToMs: Math.min(...chain.certificates.map(({ validTo }) => Date.parse(validTo))),
  };
}

/** Reads the certificates of authorities. */
export function readAuthorities(file: string): { readonly text: string } | { readonly problem: string } {
  const chain = readChain(file);
  return 'problem' in chain ? chain : { text: chain.text };
}

/** The certificates of a file, the server's own first. */
function readChain(
  file: string,
):
  | { readonly text: string; readonly certificates: readonly X509Certificate[] }
  | { readonly problem: string } {
  const read = readText(file);
  if ('problem' in read) return { problem: `${file} ${read.problem}` };
  const blocks = read.text.match(pemCertificate) ?? [];
  if (blocks.length === 0) return { problem: `${file} has no certificate in PEM in it` };
  const certificates: X509Certificate[] = [];
  for (const [index, block] of blocks.entries()) {
    try {
      certificates.push(new X509Certificate(block));
    } catch {
      return { problem: `${file} is not readable as PEM: its certificate number ${index + 1} is broken` };
    }
  }
  return { text: blocks.join('\n'), certificates };
}

function keyProblem(certificate: X509Certificate, text: string): string | null {
  if (!text.includes('PRIVATE KEY-----')) return 'has no private key in PEM in it';
  // PKCS #8, and the form of before it
  if (/BEGIN ENCRYPTED PRIVATE KEY|^Proc-Type: 4,ENCRYPTED/m.test(text)) {
    return 'is protected by a password: nobody is there to type it, so take it off (openssl pkey)';
  }
  try {
    if (certificate.checkPrivateKey(createPrivateKey(text))) return null;
    return 'does not belong to the certificate (the first one, if it is a chain)';
  } catch {
    return 'is not readable as a private key in PEM';
  }
}

/** The DNS names of a certificate. Those of its subject are not believed by clients any more (RFC 9525 §2). */
function namesIn({ subjectAltName = '' }: X509Certificate): string[] {
  const names = subjectAltName
    .split(', ')
    .filter((entry) => entry.startsWith('DNS:'))
    .map((entry) => entry.slice('DNS:'.length));
  return names.filter((name) => namePattern.test(name));
}

/** One of the certificates that clients are shown. */
export interface ShownCertificate {
  /** As `listen[].address` is written. */
  readonly listener: string;
  readonly certificate: Certificate;
}

/** All certificates of all listeners. */
export const shownCertificates = ({ listen }: Pick<Config, 'listen'>): ShownCertificate[] =>
  listen.flatMap(({ address, tls }) =>
    (tls?.certificates ?? []).map((certificate) => ({ listener: writeAddress(address), certificate })),
  );

/** What clients will not like, in sentences. Not a reason not to serve: some of them do not look. */
export const certificateWarnings = (config: Pick<Config, 'listen'>, nowMs: number): string[] =>
  shownCertificates(config).flatMap(({ listener, certificate: { file, validFromMs, validToMs } }) => {
    const about = `the certificate ${file} of listener ${listener}`;
    if (validToMs <= nowMs) return [`${about} has expired: ${new Date(validToMs).toISOString()}`];
    if (validFromMs > nowMs) return [`${about} is not valid before ${new Date(validFromMs).toISOString()}`];
    return [];
  });
