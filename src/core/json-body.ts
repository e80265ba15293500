import { GatewayError } from './errors.ts';

/** A body that was read as JSON, and what of it goes upstream. */
export interface JsonBody {
  readonly document: unknown;
  /** The document written anew: no key stands twice in it, and it has one encoding. */
  readonly text: string;
}

/** Python's reader of JSON gives up at about 1,000 levels; what clients send has fewer than ten. */
const mostLevels = 100;

/**
 * Reads a body so that nobody after us can read it otherwise: of keys that stand twice the last one counts, as in
 * Python, and only that one is in the text.
 * @throws GatewayError `body-not-json` if it is not one JSON text in UTF-8, is nested more than 100 levels deep,
 *   or holds a number that does not survive: a whole one beyond 2^53 - 1, or one too large for a double.
 */
export function readJson(bytes: Uint8Array): JsonBody {
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new GatewayError('body-not-json', 'The body is not one JSON text in UTF-8.', { cause });
  }
  refuseWhatChanges(document, mostLevels);
  return { document, text: JSON.stringify(document) };
}

function refuseWhatChanges(value: unknown, levels: number): void {
  if (typeof value === 'number') {
    const survives = Number.isInteger(value) ? Number.isSafeInteger(value) : Number.isFinite(value);
    if (!survives) throw new GatewayError('body-not-json', 'A number in the body is too large.');
  }
  if (typeof value !== 'object' || value === null) return;
  if (levels === 0) throw new GatewayError('body-not-json', 'The body is nested too deeply.');
  for (const each of Object.values(value)) refuseWhatChanges(each, levels - 1);
}

/** A JSON object, not a list. */
export const isJsonObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What an object has under a key of its own; undefined where it has none. */
export const member = (object: Readonly<Record<string, unknown>>, key: string): unknown =>
  Object.hasOwn(object, key) ? object[key] : undefined;
