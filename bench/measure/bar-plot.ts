import { spreadOf } from '../rounds.ts';
import type { Comparison } from './comparison.ts';
import { shown } from './shown.ts';
import type { FigureKind } from './workload.ts';

const width = 760;
const labelWidth = 210;
const valueWidth = 150;
const barWidth = width - labelWidth - valueWidth;
const rowHeight = 30;
const top = 54;

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** So long that it fits beside the bars, at about 7.5 px a letter. */
const fitting = (text: string): string => (text.length > 26 ? `${text.slice(0, 25)}…` : text);

/**
 * One bar for each contender, as long as its median, with a line from the least to the most, as SVG 1.1 that is readable on
 * light and on dark ground.
 * @returns null where nobody has a figure.
 */
export function barPlot(comparison: Comparison, column: FigureKind): string | null {
  const bars = comparison.rows.flatMap(({ contender, figures, failure }) => {
    const all = figures[column.key] ?? [];
    if (all.length === 0) return failure === null ? [] : { contender, spread: null };
    return { contender, spread: spreadOf(all) };
  });
  const measured = bars.flatMap(({ spread }) => spread ?? []);
  if (measured.length === 0) return null;
  const longest = Math.max(0, ...measured.map(({ most }) => most)) || 1;
  // noise may bring a figure below 0: its bar has no length
  const at = (figure: number): string => (labelWidth + (Math.max(0, figure) / longest) * barWidth).toFixed(1);
  const rows = bars.map(({ contender, spread }, i) => {
    const y = top + i * rowHeight;
    const middle = y + rowHeight / 2;
    const label = `<text class="label" x="${labelWidth - 10}" y="${middle + 4}">${escaped(fitting(contender))}</text>`;
    if (spread === null) {
      return `${label}<text class="none" x="${labelWidth + 4}" y="${middle + 4}">fails: see the table</text>`;
    }
    const { median, least, most } = spread;
    const ours = contender.startsWith('sluice') ? ' ours' : '';
    const length = (Number(at(median)) - labelWidth).toFixed(1);
    return [
      label,
      `<rect class="bar${ours}" x="${labelWidth}" y="${y + 5}" width="${length}" height="${rowHeight - 10}"/>`,
      `<path class="spread" d="M${at(least)} ${middle}H${at(most)}M${at(least)} ${middle - 5}v10M${at(most)} ${middle - 5}v10"/>`,
      `<text class="value" x="${(Number(at(most)) + 8).toFixed(1)}" y="${middle + 4}">${shown(median)} ${escaped(column.unit)}</text>`,
    ].join('');
  });
  const height = top + bars.length * rowHeight + 16;
  const better = `${column.title}, ${column.unit}: ${column.better} is better`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>${escaped(`${comparison.title}: ${column.title}`)}</title>
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 15px; }
.label { text-anchor: end; }
.none, .better { fill: #59636e; }
.bar { fill: #9aa7b5; }
.ours { fill: #2f81d6; }
.spread { stroke: #1f2328; stroke-width: 1.5; fill: none; }
.ground { fill: #ffffff; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .none, .better { fill: #9198a1; }
  .bar { fill: #59636e; }
  .ours { fill: #4493f8; }
  .spread { stroke: #e6edf3; }
  .ground { fill: #0d1117; }
}
</style>
<rect class="ground" width="${width}" height="${height}"/>
<text class="title" x="16" y="24">${escaped(comparison.title)}</text>
<text class="better" x="16" y="42">${escaped(better)}</text>
${rows.join('\n')}
</svg>
`;
}
