import { joinedHeader, type RawHeaders } from './headers.ts';

/** The longest `Via`, in characters, and the most entries that our own is appended to. */
export const longestVia = 4_096;
export const maxViaEntries = 50;

/**
 * Whether a request has come through a proxy of this name (RFC 9110 §7.6.3): then it goes in a circle.
 * @param pseudonym one word, as unlikely to be another proxy's as may be.
 */
export function hasPassed(raw: RawHeaders, pseudonym: string): boolean {
  const members = (joinedHeader(raw, 'via') ?? '').split(',');
  return members.some((member) => member.trim().split(/[ \t]+/)[1] === pseudonym);
}

/**
 * The `Via` to send on: what came, and our hop. What came beyond the bounds is left out whole: a message that went
 * through so many proxies runs in a circle, or somebody made it up.
 * @param came all its fields joined; undefined where there was none
 * @param httpVersion of the message as it came, e.g. `1.1`
 * @param pseudonym our name: RFC 9110 §7.6.3 allows one in place of the host
 */
export function viaWith(came: string | undefined, httpVersion: string, pseudonym = 'sluice'): string {
  const own = `${httpVersion} ${pseudonym}`;
  const before = came?.trim();
  if (!before || before.length > longestVia || before.split(',').length > maxViaEntries) return own;
  return `${before}, ${own}`;
}
