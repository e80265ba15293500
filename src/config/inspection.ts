import { distance } from 'fastest-levenshtein';
import { z } from 'zod';
import type { Finding, Path } from './source.ts';

/** What came of holding a value against a schema. */
export interface Inspection<Data> {
  /**
   * The value without its wrong parts, defaults in their place, so that rules between keys can still be
   * looked at. Null when too little is left.
   */
  readonly data: Data | null;
  readonly findings: readonly Finding[];
  /** The paths that were left out: what depends on them cannot be judged. */
  readonly left: readonly Path[];
}

/** Holds `value` against `schema`. Never throws, whatever the value is. */
export function inspect<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
): Inspection<z.output<Schema>> {
  const findings: Finding[] = [];
  const left: Path[] = [];
  for (let rest = value; ; ) {
    const result = schema.safeParse(rest);
    if (result.success) return { data: result.data, findings, left };
    const found = result.error.issues.flatMap((issue) => explain(issue, schema, value));
    // what a later round complains of near a part left out is about the gap, not about the file
    findings.push(...found.filter(({ path }) => !left.some((each) => related(each, path))));
    // with nothing left there is nothing more to leave out
    if (left.some((path) => path.length === 0)) return { data: null, findings, left };
    const wrong = found.map(({ path }) => deepest(rest, path));
    left.push(...wrong);
    rest = wrong.reduce(without, rest);
  }
}

/** True when one path lies within the other. */
export const related = (one: Path, other: Path): boolean =>
  (one.length < other.length ? one : other).every((_, depth) => one[depth] === other[depth]);

/** `upload.chunk_size`, `listen[0].address`. */
export const dotted = (path: Path): string =>
  path.reduce<string>(
    (text, step) => (typeof step === 'number' ? `${text}[${step}]` : text === '' ? step : `${text}.${step}`),
    '',
  );

/** The message with the place it is about in front. */
export const about = (path: Path, message: string): string =>
  path.length === 0 ? message : `${dotted(path)}: ${message}`;

/** The word that was probably meant, if one is near. */
export function nearest(word: string, words: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
  const same = words.find((each) => plain(each) === plain(word));
  if (same !== undefined) return same;
  const reach = Math.max(1, Math.floor(Math.min(word.length, 30) / 4));
  const ranked = words
    .map((each) => ({ each, far: isSwapOf(word, each) ? 1 : distance(word, each) }))
    .filter(({ each, far }) => far <= reach && far < each.length)
    .sort((one, other) => one.far - other.far);
  return ranked[0]?.each;
}

/** True when two neighbours have changed places: one slip of the hand, which the distance counts as two. */
function isSwapOf(word: string, other: string): boolean {
  const at = [...word].findIndex((letter, index) => letter !== other[index]);
  const swapped = `${word.slice(0, at)}${word[at + 1]}${word[at]}${word.slice(at + 2)}`;
  return at >= 0 && word.length > 2 && swapped === other;
}

function explain(issue: z.core.$ZodIssue, schema: z.ZodType, value: unknown): Finding[] {
  const path = issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step));
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      path: [...path, key],
      at: 'key',
      message: about(path, `unknown key ${show(key)}${suggestKey(key, path, schema)}`),
    }));
  }
  if (!issue.message.startsWith('expected ')) return [{ path, message: about(path, issue.message) }];
  const { found, present } = valueAt(value, path);
  if (!present) return [{ path, message: about(path, `missing; ${issue.message}`) }];
  const words = issue.code === 'invalid_value' ? issue.values.map(String) : [];
  const meant = typeof found === 'string' ? nearest(found, words) : undefined;
  const suggestion = meant === undefined ? '' : `; did you mean ${show(meant)}?`;
  return [{ path, message: about(path, `${issue.message}, got ${show(found)}${suggestion}`) }];
}

function suggestKey(key: string, path: Path, schema: z.ZodType): string {
  const sibling = nearest(key, Object.keys(shapeAt(schema, path) ?? {}));
  if (sibling !== undefined) return `; did you mean ${show(sibling)}?`;
  const [elsewhere, ...others] = [...keyPaths(schema)].filter((each) => each.at(-1) === key);
  if (elsewhere === undefined || others.length > 0) return '';
  const top = elsewhere.length === 1 ? ' at the top' : '';
  return `; did you mean ${show(elsewhere.join('.'))}${top}?`;
}

/** The schema inside the wrappers for defaults and the like. */
export function unwrapped(schema: z.core.$ZodType): z.core.$ZodType {
  if (schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional) return unwrapped(schema.unwrap());
  return schema;
}

function shapeAt(schema: z.core.$ZodType, path: Path): Readonly<Record<string, z.core.$ZodType>> | undefined {
  const inner = unwrapped(schema);
  const [step, ...rest] = path;
  if (inner instanceof z.ZodArray) return shapeAt(inner.element, rest);
  if (inner instanceof z.ZodRecord) return shapeAt(inner.valueType, rest);
  if (!(inner instanceof z.ZodObject)) return undefined;
  if (step === undefined) return inner.shape;
  const next = inner.shape[step];
  return next === undefined ? undefined : shapeAt(next, rest);
}

/** Every key that can be reached by names alone. */
function* keyPaths(schema: z.core.$ZodType, above: readonly string[] = []): Generator<readonly string[]> {
  const inner = unwrapped(schema);
  if (!(inner instanceof z.ZodObject)) return;
  for (const [key, value] of Object.entries<z.core.$ZodType>(inner.shape)) {
    yield [...above, key];
    yield* keyPaths(value, [...above, key]);
  }
}

const isMapping = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function valueAt(value: unknown, path: Path): { readonly found?: unknown; readonly present: boolean } {
  let found = value;
  for (const step of path) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, step)) return { present: false };
    found = Reflect.get(found, step);
  }
  return { found, present: found !== undefined };
}

/** The part of `path` that leads to something, and to a key rather than into a list. */
function deepest(value: unknown, path: Path): Path {
  const isEntry = typeof path.at(-1) === 'string' && hasOwnAt(value, path);
  return path.length === 0 || isEntry ? path : deepest(value, path.slice(0, -1));
}

function hasOwnAt(value: unknown, path: Path): boolean {
  const { found, present } = valueAt(value, path.slice(0, -1));
  const key = path.at(-1);
  return (present || path.length === 1) && key !== undefined && isMapping(found) && Object.hasOwn(found, key);
}

/** The value without the entry at `path`; each use makes the value smaller until `{}` is left. */
function without(value: unknown, path: Path): unknown {
  const [step, ...rest] = path;
  if (step === undefined) return {};
  if (Array.isArray(value)) {
    return value.map((each, index) => (index === step ? without(each, rest) : each));
  }
  if (!isMapping(value)) return value;
  const entries = Object.entries(value);
  return Object.fromEntries(
    rest.length === 0
      ? entries.filter(([key]) => key !== step)
      : entries.map(([key, each]) => [key, key === step ? without(each, rest) : each]),
  );
}

/** A value in a message: short, on one line, without passwords. */
export function show(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value !== 'string') return String(value);
  const safe = value.replaceAll(/\/\/[^/@\s]*@/g, '//***@');
  return JSON.stringify(safe.length > 60 ? `${safe.slice(0, 57)}...` : safe);
}
