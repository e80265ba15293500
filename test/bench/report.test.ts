import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { z } from 'zod';
import { barPlot } from '../../bench/measure/bar-plot.ts';
import type { Comparison } from '../../bench/measure/comparison.ts';
import { thisMachine } from '../../bench/measure/machine.ts';
import { comparisonMarkdown, type Report, writeReport } from '../../bench/measure/report.ts';
import { shown } from '../../bench/measure/shown.ts';
import type { FigureKind } from '../../bench/measure/workload.ts';

const cpu: FigureKind = { key: 'cpu', title: 'CPU', unit: 's/GB', better: 'less', plotted: true };
const origin: FigureKind = { key: 'origin', title: 'origin', unit: 's/GB', better: 'less', plotted: false };
const comparison: Comparison = {
  workload: 'uploads',
  title: 'Uploads < 64 MiB & "more"',
  columns: [cpu, origin],
  rounds: 3,
  rows: [
    {
      contender: 'sluice <stream>',
      version: '0.1.0',
      figures: { cpu: [1, 3, 2], origin: [0.5] },
      failure: null,
    },
    { contender: 'direct', version: '', figures: { cpu: [], origin: [0.25] }, failure: null },
    { contender: 'broken', version: '1', figures: { cpu: [], origin: [] }, failure: 'lost | 3\nbytes' },
    {
      contender: `one of a very ${'long '.repeat(10)}name`,
      version: '1',
      figures: { cpu: [-1] },
      failure: null,
    },
  ],
};

const textSchema = z.array(
  z.looseObject({ '#text': z.coerce.string(), '@x': z.coerce.number(), '@y': z.coerce.number() }),
);
const svgSchema = z.looseObject({
  svg: z.looseObject({
    '@width': z.coerce.number(),
    '@height': z.coerce.number(),
    text: textSchema,
    rect: z.array(z.looseObject({ '@class': z.string(), '@width': z.coerce.number() })),
    path: z.array(z.looseObject({ '@d': z.string() })),
  }),
});

describe('the report of a benchmark', () => {
  const svg = barPlot(comparison, cpu) ?? '';
  const read = () =>
    svgSchema.parse(new XMLParser({ ignoreAttributes: false, attributeNamePrefix: '@' }).parse(svg)).svg;

  it('draws well-formed SVG, whatever the names are', () => {
    assert.equal(XMLValidator.validate(svg), true);
    assert.match(svg, /sluice &lt;stream&gt;/);
  });

  it('draws a bar as long as the median, and a line from the least to the most', () => {
    const [, first, last] = read().rect;
    const [line] = read().path;
    const [from, to] = [...(line?.['@d'] ?? '').matchAll(/^M([\d.]+) [\d.]+H([\d.]+)/g)].flatMap(
      ([, a, b]) => [Number(a), Number(b)],
    );
    const left = 210;
    // 1, 2 and 3
    assert.equal(Math.abs((first?.['@width'] ?? 0) - 2 * ((from ?? 0) - left)) < 0.5, true);
    assert.equal(Math.abs((to ?? 0) - left - 3 * ((from ?? 0) - left)) < 0.5, true);
    assert.equal(last?.['@width'], 0, 'a figure below 0');
  });

  it('draws no text over another, nor out of the picture', () => {
    const { text, '@height': height, '@width': width } = read();
    const lines = new Map<number, { readonly from: number; readonly to: number }[]>();
    for (const { '#text': words, '@x': x, '@y': y } of text) {
      // 13 px, and letters of at most 8 px; labels end at x
      const length = words.length * 8;
      const extent = x === 200 ? { from: x - length, to: x } : { from: x, to: x + length };
      assert.equal(extent.from >= -8 && extent.to <= width && y < height, true, words);
      for (const other of lines.get(y) ?? []) {
        assert.equal(extent.from >= other.to || extent.to <= other.from, true, `${words} is over another`);
      }
      lines.set(y, [...(lines.get(y) ?? []), extent]);
    }
    const gaps = [...lines.keys()].sort((a, b) => a - b).map((y, i, all) => y - (all[i - 1] ?? 0));
    assert.equal(Math.min(...gaps) >= 14, true);
  });

  it('leaves out of a plot who has no figure in it, and shows who fails', () => {
    assert.equal(svg.includes('direct'), false);
    assert.match(svg, /broken<\/text><text[^>]*>fails/);
    assert.equal(barPlot({ ...comparison, rows: comparison.rows.slice(1, 3) }, cpu), null);
  });

  it('is a Markdown table with a cell for each column, and the reason of who fails', () => {
    const table = comparisonMarkdown(comparison, ['a.svg'])
      .split('\n')
      .filter((line) => line.startsWith('|'));
    const cells = table.map((line) => line.split(/(?<!\\)\|/).length);
    assert.deepEqual(new Set(cells), new Set([5]));
    assert.equal(table[2], '| sluice <stream> 0.1.0 | 2.00 (1.00 to 3.00) | 0.500 |');
    assert.equal(table[4], '| broken 1 | fails: lost \\| 3 bytes |  |');
  });

  it('is written as JSON, Markdown and pictures, with machine and command', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-report-'));
    try {
      const report: Report = {
        title: 'All',
        command: 'npm run bench',
        begunAt: '2026-11-24T20:00:00.000Z',
        machine: thisMachine(),
        comparisons: [comparison],
      };
      const markdown = await writeReport(report, folder, 'all');
      assert.deepEqual((await readdir(folder)).sort(), ['all-uploads-cpu.svg', 'all.json', 'all.md']);
      assert.equal(await readFile(join(folder, 'all.md'), 'utf8'), markdown);
      assert.match(markdown, /2026-11-24 20:00 UTC, `npm run bench`/);
      assert.match(markdown, /\(all-uploads-cpu\.svg\)/);
      assert.deepEqual(JSON.parse(await readFile(join(folder, 'all.json'), 'utf8')), report);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('tells figures with three digits that count', () => {
    assert.deepEqual([0, 0.1634, 1.234, 12.345, 123.45, 1234.5].map(shown), [
      '0',
      '0.163',
      '1.23',
      '12.3',
      '123',
      '1235',
    ]);
  });
});
