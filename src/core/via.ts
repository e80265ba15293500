/** Our name in `Via`; RFC 9110 §7.6.3 allows a pseudonym for the host. */
const pseudonym = 'sluice';

/** The longest `Via`, in characters, and the most entries that our own is appended to. */
export const longestVia = 4_096;
export const maxViaEntries = 50;

/**
 * The `Via` to send on: what came, and our hop. What came beyond the bounds is left out whole: a message that went
 * through so many proxies runs in a circle, or somebody made it up.
 * @param came all its fields joined; undefined where there was none
 * @param httpVersion of the message as it came, e.g. `1.1`
 */
export function viaWith(came: string | undefined, httpVersion: string): string {
  const own = `${httpVersion} ${pseudonym}`;
  const before = came?.trim();
  if (!before || before.length > longestVia || before.split(',').length > maxViaEntries) return own;
  return `${before}, ${own}`;
}
