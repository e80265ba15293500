import { z } from 'zod';
import { unwrapped } from './inspection.ts';
import { options } from './options.ts';
import { scalarFacts } from './scalars.ts';

// What is printed from the table of options: the reference page, the JSON Schema and the help text.

export interface OptionRow {
  /** As in messages: `upload.chunk_size`, `listen[].address`. */
  readonly key: string;
  readonly type: string;
  /** As people write it; empty where the key must be given, `none` where nothing stands in for it. */
  readonly default: string;
  readonly sentence: string;
  /** True for a mapping or a list of mappings, whose keys follow. */
  readonly group: boolean;
}

/** One row for each key, in the order of the table. */
export const optionRows = (): OptionRow[] => [...rowsOf(options, '')];

function* rowsOf(mapping: z.core.$ZodType, above: string): Generator<OptionRow> {
  if (!(mapping instanceof z.ZodObject)) return;
  for (const [name, schema] of Object.entries<z.core.$ZodType>(mapping.shape)) {
    const inner = unwrapped(schema);
    const entry = inner instanceof z.ZodArray ? unwrapped(inner.element) : inner;
    const group = entry instanceof z.ZodObject;
    const key = above === '' ? name : `${above}.${name}`;
    yield {
      key,
      type: typeOf(schema),
      default: defaultOf(schema),
      sentence: (schema instanceof z.ZodType ? schema.description : undefined) ?? '',
      group,
    };
    yield* rowsOf(entry, inner === entry ? key : `${key}[]`);
  }
}

function typeOf(schema: z.core.$ZodType): string {
  const inner = unwrapped(schema);
  if (inner instanceof z.ZodArray) return `list of ${typeOf(inner.element)}`;
  if (inner instanceof z.ZodObject) return 'mapping';
  return factsOf(schema)?.type ?? factsOf(inner)?.type ?? 'text';
}

const factsOf = (schema: z.core.$ZodType) =>
  schema instanceof z.ZodType ? scalarFacts.get(schema) : undefined;

function defaultOf(schema: z.core.$ZodType): string {
  const said = factsOf(schema)?.defaultText;
  if (said !== undefined) return said;
  if (schema instanceof z.ZodOptional) return 'none';
  if (!(schema instanceof z.ZodPrefault)) return '';
  const written: unknown = schema.def.defaultValue;
  return typeof written === 'string' && written !== '' ? written : flow(written);
}

/** A value as YAML on one line. */
function flow(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).map(([key, each]) => `${key}: ${flow(each)}`);
  return entries.length === 0 ? '{}' : `{ ${entries.join(', ')} }`;
}

/** The keys for people at a terminal: two lines for each. */
export function optionsHelp(): string {
  const lines = optionRows().map(({ key, type, default: written, sentence, group }) => {
    const value =
      group && written === '{}' ? type : `${type}; ${written === '' ? 'required' : `default ${written}`}`;
    return `${key}  (${value})\n    ${sentence}`;
  });
  return `${lines.join('\n').replaceAll('`', '')}\n`;
}

/** The JSON Schema of the file, for editors. Draft 7 is what yaml-language-server knows best. */
export function optionsJsonSchema(): string {
  const schema = z.toJSONSchema(options, { io: 'input', target: 'draft-7' });
  const printed = JSON.stringify({ title: 'Configuration of Sluice', ...schema }, null, 2);
  // lists of plain values on one line, as the formatter leaves them
  return `${printed.replaceAll(/\[\s+([^[\]{}]*?)\s+\]/g, (_, items: string) => `[${items.replaceAll(/,\n\s+/g, ', ')}]`)}\n`;
}

const generatedNote = 'Printed from src/config/options.ts by `npm run generate`; edit that.';

/** The reference page. */
export function optionsPage(): string {
  const rows = optionRows().map(({ key, type, default: written, sentence, group }) => {
    const shown = written === '' ? 'required' : /^(?:by |none$)/.test(written) ? written : `\`${written}\``;
    return [`\`${key}\``, type, group && written === '{}' ? '' : shown, sentence];
  });
  return `<!-- ${generatedNote} -->
# Configuration

Sluice reads one YAML file: \`sluice run -c FILE\`. \`sluice check -c FILE\` says what is wrong with it, all at
once, as \`FILE:line:column: message\`; \`--print\` shows the configuration in effect. SIGHUP reads the file again;
a file with an error changes nothing.

- Every key may be left out. A key that is not listed here is refused.
- Durations: a number is seconds, or a number with \`ms\`, \`s\`, \`m\` or \`h\`: \`250ms\`, \`30s\`, \`15m\`, \`2h\`; at most 596 hours.
- Sizes: a number is bytes, or a number with \`KiB MiB GiB TiB\` (binary) or \`B KB MB GB TB\` (decimal): \`4MiB\`, \`4MB\`.
- 0 means no limit, for every limit.
- Relative paths begin at the folder of the file that names them.
- What is not built yet is refused where it is set, never ignored.

[config/sluice.yaml](../config/sluice.yaml) has every key with its default. Editors check it by
[config/sluice.schema.json](../config/sluice.schema.json).

${table(['Key', 'Type', 'Default', 'What it does'], rows)}
`;
}

/** A table as the formatter leaves it: columns of one width. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [head, ...rows].map((row) => row.map((each) => each.replaceAll('|', '\\|')));
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  const rule = widths.map((width) => '-'.repeat(width));
  const lines = [cells[0] ?? [], rule, ...cells.slice(1)];
  return lines
    .map((row) => `| ${row.map((each, column) => each.padEnd(widths[column] ?? 0)).join(' | ')} |`)
    .join('\n');
}

/** The files that are printed, by their path in the project. */
export const generatedFiles = (): Readonly<Record<string, string>> => ({
  'config/sluice.schema.json': optionsJsonSchema(),
  'docs/configuration.md': optionsPage(),
});
