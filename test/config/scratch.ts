import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { type ConfigError, formatConfigError, type Loaded, loadConfig } from '../../src/config/load.ts';

/** A folder of files for one test; `remove` takes it away. */
export interface Scratch {
  readonly folder: string;
  write(name: string, content: string | Uint8Array): string;
  remove(): void;
}

export function scratch(): Scratch {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-config-'));
  return {
    folder,
    write(name, content) {
      const file = join(folder, name);
      writeFileSync(file, content);
      return file;
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** The errors as they are printed, files by their last name. */
export const printed = (errors: readonly ConfigError[]): string[] =>
  errors.map((error) =>
    formatConfigError({ ...error, file: basename(error.file) }).replaceAll(`${dirname(error.file)}/`, ''),
  );

/** What loading `file` complains of; empty when it loads. */
export function complaints(file: string): string[] {
  const result = loadConfig(file);
  return 'errors' in result ? printed(result.errors) : [];
}

/** The file as loaded. */
export function loaded(file: string): Loaded {
  const result = loadConfig(file);
  if ('errors' in result) throw new Error(printed(result.errors).join('\n'));
  return result;
}
