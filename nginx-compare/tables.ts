import type { Comparison, ComparisonRow } from '../bench/measure/comparison.ts';
import { spreadOf } from '../bench/rounds.ts';
import { ours, type Verdict } from './promises.ts';
import type { SplicedShare } from './ratios.ts';

const medianOf = (row: ComparisonRow | undefined, figure: string): number => {
  const figures = row === undefined || row.failure !== null ? [] : (row.figures[figure] ?? []);
  return figures.length === 0 ? Number.NaN : spreadOf(figures).median;
};

const ratio = (one: number, other: number): string =>
  Number.isFinite(one / other) ? (one / other).toFixed(2) : '';

/** Sluice's median to each peer's: CPU (less than 1 is better) and speed (more is better), in one cell. */
export function ratiosMarkdown(comparisons: readonly Comparison[]): string {
  const names = [...new Set(comparisons.flatMap(({ rows }) => rows.map(({ contender }) => contender)))];
  const lines = names
    .filter((name) => name !== ours)
    .map((name) => {
      const cells = comparisons.map(({ rows }) => {
        const own = rows.find(({ contender }) => contender === ours);
        const peer = rows.find(({ contender }) => contender === name);
        const cpu = ratio(medianOf(own, 'cpu'), medianOf(peer, 'cpu'));
        return cpu === '' ? '' : `${cpu} / ${ratio(medianOf(own, 'speed'), medianOf(peer, 'speed'))}`;
      });
      return `| ${name} | ${cells.join(' | ')} |`;
    });
  return [
    '## Sluice to each peer',
    '',
    'CPU / speed, of the medians: less than 1 and more than 1 is better.',
    '',
    `| | ${comparisons.map(({ workload }) => workload).join(' | ')} |`,
    `| --- |${' --- |'.repeat(comparisons.length)}`,
    ...lines,
  ].join('\n');
}

/** How much HAProxy did not copy, by its own counters. */
export function splicedMarkdown(all: readonly SplicedShare[]): string {
  return [
    '## What HAProxy spliced',
    '',
    '| workload | | sent, GB | spliced |',
    '| --- | --- | --- | --- |',
    ...all.map(({ workload, contender, sent, spliced }) => {
      const share = sent === 0 ? '' : `${((spliced / sent) * 100).toFixed(0)} %`;
      return `| ${workload} | ${contender} | ${(sent / 1e9).toFixed(1)} | ${share} |`;
    }),
  ].join('\n');
}

export function verdictsMarkdown(verdicts: readonly Verdict[]): string {
  return [
    '## What was promised',
    '',
    '| of Sluice | to | wanted | ratio of the medians | | not judged |',
    '| --- | --- | --- | --- | --- | --- |',
    ...verdicts.map(({ text, peer, bound, ratio: found, outcome, beside = '', besideRatio }) => {
      const wanted = 'atMost' in bound ? `at most ${bound.atMost}` : `at least ${bound.atLeast}`;
      const shownRatio = found === null ? '' : found.toFixed(2);
      const shownBeside = besideRatio === null ? '' : `${besideRatio.toFixed(2)} to ${beside}`;
      return `| ${text} | ${peer} | ${wanted} | ${shownRatio} | ${outcome} | ${shownBeside} |`;
    }),
  ].join('\n');
}
