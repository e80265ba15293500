import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** A file of configuration/ with `@NAME@` where each run differs. */
export class Template {
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  /** @throws Error where the file names something that `values` does not have, or `values` something that it does not name. */
  async filled(values: Readonly<Record<string, string | number>>): Promise<string> {
    const file = fileURLToPath(new URL(`configuration/${this.#name}`, import.meta.url));
    const unused = new Set(Object.keys(values));
    // what a comment explains is no setting
    const lines = (await readFile(file, 'utf8')).split('\n').filter((line) => !/^\s*#/.test(line));
    const text = lines.join('\n').replace(/@([A-Z_]+)@/g, (_, key: string) => {
      const value = values[key];
      if (value === undefined) throw new Error(`${this.#name}: nobody says what @${key}@ is`);
      unused.delete(key);
      return String(value);
    });
    if (unused.size > 0) throw new Error(`${this.#name} has no @${[...unused].join('@, @')}@`);
    return text;
  }
}
