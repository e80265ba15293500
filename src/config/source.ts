import { readFileSync } from 'node:fs';
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
} from 'yaml';

/** Keys and indexes from the top of a document. */
export type Path = readonly (string | number)[];

/** Line and column count from 1. */
export interface Position {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface ConfigError extends Position {
  readonly message: string;
}

/** Something wrong at a path of a document. `at` says which half of the entry is shown; the value where left out. */
export interface Finding {
  readonly path: Path;
  readonly at?: 'key' | 'value';
  readonly message: string;
}

/** Where an entry stands; where there is none, the nearest one above it. */
export type Locate = (path: Path, at?: 'key' | 'value') => Position;

/** The content of a YAML file with the places of its parts. */
export interface Source {
  readonly value: unknown;
  readonly locate: Locate;
}

/** `FILE:line:column: message`, as compilers write it and editors read it. */
export const formatConfigError = ({ file, line, column, message }: ConfigError): string =>
  `${file}:${line}:${column}: ${message}`;

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of its path is not a directory',
  ELOOP: 'too many symbolic links',
  ENAMETOOLONG: 'its name is too long',
};

/** The text of a file, or in one sentence why there is none. */
export function readText(file: string): { readonly text: string } | { readonly problem: string } {
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file)) };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA')
      return { problem: 'cannot be read: it is not UTF-8 text' };
    const reason = reasons[code];
    return { problem: `cannot be read: ${reason === undefined ? String(error) : `${reason} (${code})`}` };
  }
}

/** Reads YAML 1.2. Keys are always text, as written: an id of digits alone stays what it is. */
export function parseSource(
  file: string,
  text: string,
): Source | { readonly errors: readonly ConfigError[] } {
  const lines = new LineCounter();
  const position = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  try {
    const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
    // what YAML only warns of, such as a tag that it does not know, would be a setting lost
    const errors = [...document.errors, ...document.warnings].map((error) => ({
      ...position(error.pos[0]),
      message: `not valid YAML: ${error.message}`,
    }));
    if (errors.some(({ message }) => message.includes('call stack'))) throw new RangeError();
    // further errors of a line follow from its first
    const firsts = errors.filter(
      ({ line }, index) => errors.findIndex((each) => each.line === line) === index,
    );
    firsts.push(...settle(document, position));
    if (firsts.length > 0) return { errors: firsts };
    return { value: document.toJS(), locate: (path, at) => position(offsetOf(document, path, at)) };
  } catch (error) {
    // nesting beyond the stack, or aliases that multiply
    const message =
      error instanceof RangeError || !(error instanceof Error) ? 'nested too deeply' : error.message;
    return { errors: [{ ...position(0), message: `not valid YAML: ${message}` }] };
  }
}

/** Makes every key the text that was written; finds those that stand twice in one mapping, and aliases of nothing. */
function settle(document: Document, position: (offset: number) => Position): ConfigError[] {
  const errors: ConfigError[] = [];
  visit(document, {
    Alias(_, alias) {
      if (alias.resolve(document) !== undefined) return;
      errors.push({
        ...position(alias.range?.[0] ?? 0),
        message: `not valid YAML: *${alias.source} stands for nothing: no &${alias.source} comes before it`,
      });
    },
    Map(_, map) {
      const seen = new Map<string, number>();
      for (const { key } of map.items) {
        const offset = isNode(key) ? (key.range?.[0] ?? 0) : 0;
        if (!isScalar(key)) {
          errors.push({ ...position(offset), message: 'a key must be plain text' });
          continue;
        }
        const text = typeof key.value === 'string' ? key.value : (key.source ?? String(key.value));
        key.value = text;
        const first = seen.get(text);
        if (first === undefined) {
          seen.set(text, offset);
          continue;
        }
        const { line } = position(first);
        errors.push({ ...position(offset), message: `key "${text}" stands twice; first on line ${line}` });
      }
    },
  });
  return errors;
}

function offsetOf(document: Document, path: Path, at: 'key' | 'value' = 'value'): number {
  let node: unknown = document.contents;
  let offset = isNode(node) ? (node.range?.[0] ?? 0) : 0;
  for (const [depth, step] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    let keyOffset: number | undefined;
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && key.value === step);
      if (pair === undefined) return offset;
      keyOffset = isNode(pair.key) ? pair.key.range?.[0] : undefined;
      node = pair.value;
    } else if (isSeq(node) && typeof step === 'number') {
      node = node.items[step];
    } else {
      return offset;
    }
    // a value of nothing has no place of its own: `key:` is shown at its key
    const valueOffset = isNode(node) && node.range?.[0] !== node.range?.[1] ? node.range?.[0] : undefined;
    const wantsKey = at === 'key' && depth === path.length - 1;
    offset = (wantsKey ? keyOffset : valueOffset) ?? keyOffset ?? offset;
  }
  return offset;
}
