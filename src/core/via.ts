import { joinedHeader, type RawHeaders } from './headers.ts';

/**
 * Whether a request has come through a proxy of this name (RFC 9110 §7.6.3): then it goes in a circle.
 * @param pseudonym one word, as unlikely to be another proxy's as may be.
 */
export function hasPassed(raw: RawHeaders, pseudonym: string): boolean {
  const members = (joinedHeader(raw, 'via') ?? '').split(',');
  return members.some((member) => member.trim().split(/[ \t]+/)[1] === pseudonym);
}

/** What a proxy adds to `Via`: the version that it received, and its name. */
export const viaMember = (httpVersion: string, pseudonym: string): string => `${httpVersion} ${pseudonym}`;
