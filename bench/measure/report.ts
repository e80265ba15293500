import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { spreadOf } from '../rounds.ts';
import { barPlot } from './bar-plot.ts';
import type { Comparison, ComparisonRow } from './comparison.ts';
import type { Machine } from './machine.ts';
import { shown } from './shown.ts';
import type { FigureKind } from './workload.ts';

/** All that one run gave. */
export interface Report {
  readonly title: string;
  /** How it was called, so that it can be called again. */
  readonly command: string;
  /** ISO 8601. */
  readonly begunAt: string;
  readonly machine: Machine;
  readonly comparisons: readonly Comparison[];
}

/** Median, and in brackets the least and the most. */
function cell(row: ComparisonRow, { key }: FigureKind): string {
  const figures = row.figures[key] ?? [];
  if (figures.length === 0) return '';
  const { median, least, most } = spreadOf(figures);
  return figures.length === 1 ? shown(median) : `${shown(median)} (${shown(least)} to ${shown(most)})`;
}

const escaped = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

/** One table, and its plots by their file names. */
export function comparisonMarkdown(comparison: Comparison, plots: readonly string[]): string {
  const heads = comparison.columns.map(({ title, unit }) => `${title}, ${unit}`);
  const lines = comparison.rows.map((row) => {
    const name = `${row.contender}${row.version === '' ? '' : ` ${row.version}`}`;
    const cells = comparison.columns.map((column) => cell(row, column));
    if (row.failure !== null) cells.splice(0, 1, `fails: ${escaped(row.failure)}`);
    return `| ${name} | ${cells.join(' | ')} |`;
  });
  return [
    `## ${comparison.title}`,
    '',
    `| | ${heads.join(' | ')} |`,
    `| --- |${' --- |'.repeat(heads.length)}`,
    ...lines,
    '',
    ...plots.map((plot) => `![${comparison.title}](${plot})`),
  ].join('\n');
}

/** Writes `NAME.json`, `NAME.md` and one SVG for each plotted column into a folder. @returns the Markdown. */
export async function writeReport(report: Report, folder: string, name: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const sections: string[] = [];
  for (const comparison of report.comparisons) {
    const plots: string[] = [];
    for (const column of comparison.columns.filter(({ plotted }) => plotted)) {
      const svg = barPlot(comparison, column);
      if (svg === null) continue;
      const file = `${name}-${comparison.workload}-${column.key}.svg`;
      await writeFile(join(folder, file), svg);
      plots.push(file);
    }
    sections.push(comparisonMarkdown(comparison, plots));
  }
  const { machine } = report;
  const markdown = [
    `# ${report.title}`,
    '',
    `${report.begunAt.slice(0, 16).replace('T', ' ')} UTC, \`${report.command}\`: ${machine.processors} cores of ${machine.processor}, ` +
      `${machine.memoryMiB} MiB, ${machine.system}, Linux ${machine.kernel}, Node ${machine.node}; load before: ${machine.loadBefore}.`,
    'Medians of the rounds, in brackets the least and the most.',
    '',
    sections.join('\n\n'),
    '',
  ].join('\n');
  await writeFile(join(folder, `${name}.md`), markdown);
  await writeFile(join(folder, `${name}.json`), `${JSON.stringify(report, null, 2)}\n`);
  return markdown;
}
