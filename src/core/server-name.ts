/** What a certificate may be asked for: a name, or `*.` in the place of its first part (RFC 6125 §6.4.3). */
export const namePattern = /^(?:\*\.)?[a-z\d](?:[a-z\d_-]*[a-z\d])?(?:\.[a-z\d](?:[a-z\d_-]*[a-z\d])?)*$/i;

/**
 * Which entry answers for the name that a client asks for: one that has the very name, else one with a wildcard in
 * the place of its first part, else the first. Of several alike the first.
 * @param asked as the client wrote it; empty where it asked for none.
 * @returns the index of the entry; 0 also where there is none.
 */
export function entryFor(asked: string, entries: readonly { readonly names: readonly string[] }[]): number {
  const name = asked.toLowerCase().replace(/\.$/, '');
  const dot = name.indexOf('.');
  const wanted = dot > 0 ? [name, `*${name.slice(dot)}`] : [name];
  for (const each of wanted) {
    const index = entries.findIndex(({ names }) => names.some((one) => one.toLowerCase() === each));
    if (index >= 0) return index;
  }
  return 0;
}
