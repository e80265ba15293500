import { shown } from '../bench/measure/shown.ts';

export interface LinePlot {
  readonly title: string;
  readonly across: string;
  readonly up: string;
  /** True: each step to the right is ten times as much. No point may then be at 0. */
  readonly logarithmic: boolean;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

const width = 760;
const height = 320;
const left = 70;
const right = 20;
const top = 54;
const bottom = 50;

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** Points that are joined, upwards from 0, as SVG that is readable on light and on dark ground. */
export function linePlot({ title, across, up, logarithmic, points }: LinePlot): string {
  const placed = (x: number): number => (logarithmic ? Math.log10(x) : x);
  const [first, last] = [placed(points[0]?.x ?? 1), placed(points.at(-1)?.x ?? 1)];
  const most = Math.max(...points.map(({ y }) => y)) * 1.1 || 1;
  const atX = (x: number): string =>
    (left + ((placed(x) - first) / (last - first || 1)) * (width - left - right)).toFixed(1);
  const atY = (y: number): string => (height - bottom - (y / most) * (height - top - bottom)).toFixed(1);
  const line = points.map(({ x, y }) => `${atX(x)} ${atY(y)}`).join('L');
  // many points speak by their line alone
  const marked = points.length <= 12 ? points : [];
  const named = points.length <= 12 ? points : [points[0], points.at(-1)].flatMap((point) => point ?? []);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>${escaped(title)}</title>
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 15px; }
.middle { text-anchor: middle; }
.end { text-anchor: end; }
.line { fill: none; stroke: #2f81d6; stroke-width: 2; }
.point { fill: #2f81d6; }
.axis { stroke: #59636e; }
.ground { fill: #ffffff; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .line { stroke: #4493f8; }
  .point { fill: #4493f8; }
  .axis { stroke: #9198a1; }
  .ground { fill: #0d1117; }
}
</style>
<rect class="ground" width="${width}" height="${height}"/>
<text class="title" x="16" y="24">${escaped(title)}</text>
<text x="16" y="42">${escaped(up)}</text>
<path class="axis" d="M${left} ${top}V${height - bottom}H${width - right}" fill="none"/>
<text class="end" x="${left - 8}" y="${height - bottom + 4}">0</text>
<text class="end" x="${left - 8}" y="${top + 4}">${shown(most)}</text>
${named.map(({ x }) => `<text class="middle" x="${atX(x)}" y="${height - bottom + 18}">${Math.round(x)}</text>`).join('')}
<text class="middle" x="${(left + width) / 2}" y="${height - 10}">${escaped(across)}</text>
<path class="line" d="M${line}"/>
${marked.map(({ x, y }) => `<circle class="point" cx="${atX(x)}" cy="${atY(y)}" r="3"/><text class="middle" x="${atX(x)}" y="${Number(atY(y)) - 8}">${shown(y)}</text>`).join('')}
</svg>
`;
}
