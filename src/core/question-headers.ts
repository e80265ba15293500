import type { RawHeaders } from './headers.ts';

/**
 * What says something about the body under way, about its answer, or about how that may be encoded: none of it is true of
 * a question of the gateway's own. All else stays, because nobody knows in which header an API expects credentials.
 */
const ofTheRequest = /^(?:accept|content|if|x-image-meta)-|^(?:accept|range|cache-control|pragma)$/;

/** The caller's headers as they go with a question of the gateway's own, which is answered in plain JSON. */
export function questionHeaders(raw: RawHeaders, sizeHeader: string | null): string[] {
  const kept: string[] = ['Accept', 'application/json'];
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const lower = name.toLowerCase();
    if (!ofTheRequest.test(lower) && lower !== sizeHeader) kept.push(name, raw[i + 1] ?? '');
  }
  return kept;
}
