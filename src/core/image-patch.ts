import { isJsonObject, member } from './json-body.ts';

// Where a change says what it changes: `path` and `from` in the form of API 2.1 (RFC 6902), the name of the
// operation in that of 2.0 (its fourth draft), which Glance takes by Content-Type. Here all are looked at.
const pointerKeys = ['path', 'from', 'add', 'replace', 'remove', 'move', 'copy', 'test'];

/**
 * True if a patch of an image touches this member, as laxly as anybody could read it: as a list of changes or one
 * alone, with further slashes, blanks and escapes in the pointer. A change of the image as a whole counts too.
 */
export function touches(patch: unknown, name: 'locations' | 'owner'): boolean {
  const changes: readonly unknown[] = Array.isArray(patch) ? patch : [patch];
  return changes.some(
    (change) => isJsonObject(change) && pointerKeys.some((key) => pointsTo(member(change, key), name)),
  );
}

function pointsTo(pointer: unknown, name: string): boolean {
  if (typeof pointer !== 'string') return false;
  // RFC 6901 §4: ~1 first, then ~0
  const plain = pointer.replaceAll('~1', '/').replaceAll('~0', '~');
  const [first] = plain
    .split('/')
    .map((step) => step.replaceAll(blanks, ''))
    .filter((step) => step !== '');
  return first === undefined || first === name;
}

// Glance strips each step of blanks, and Python takes some control characters for blanks. All of them go, at the
// ends or not: a pattern that looks for the ends would take quadratic time for a long run of blanks
const blanks = /[\s\p{Cc}]/gu;
