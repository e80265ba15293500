import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { thisMachine } from '../bench/measure/machine.ts';
import { MiB } from '../src/core/units.ts';
import { linePlot } from './line-plot.ts';
import { memoryRun, memoryVerdict } from './memory-run.ts';
import { resultsFolder } from './results.ts';
import { commit, type RunOptions } from './run-options.ts';
import { sluice } from './sluice.ts';

/** 100 GB through one gateway. @returns the report's Markdown. */
export async function runMemory({ keystone, lane, quick, command, say }: RunOptions): Promise<string> {
  const contender = sluice(keystone, lane);
  const begun = { command, begunAt: new Date().toISOString(), machine: thisMachine(), commit: commit() };
  const samples = await memoryRun(contender, quick ? 10e9 : 100e9, say);
  const verdict = memoryVerdict(samples);
  const report = { ...begun, version: await contender.version(), verdict, samples };
  const folder = resultsFolder(quick);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'memory.json'), `${JSON.stringify(report)}\n`);
  const plot = linePlot({
    title: 'Memory of Sluice while bytes flow through it',
    across: 'GB until then',
    up: 'resident, MiB',
    logarithmic: false,
    points: samples.map(({ bytes, residentBytes }) => ({ x: bytes / 1e9, y: residentBytes / MiB })),
  });
  await writeFile(join(folder, 'memory.svg'), plot);
  const gigabytes = Math.round((samples.at(-1)?.bytes ?? 0) / 1e9);
  const mebibytes = (bytes: number): string => `${Math.round(bytes / MiB)} MiB`;
  const markdown = [
    '# Memory of Sluice while bytes flow through it',
    `${report.begunAt.slice(0, 16).replace('T', ' ')} UTC, \`${command}\`, commit ${report.commit}, Sluice ${report.version}, Node ${report.machine.node}.`,
    `${gigabytes} GB: most resident in the first half (its first fifth left out) ${mebibytes(verdict.firstBytes)}, ` +
      `in the second ${mebibytes(verdict.secondBytes)}: ${verdict.flat ? 'flat' : 'not flat'}.`,
    '![Memory](memory.svg)',
    '',
  ].join('\n\n');
  await writeFile(join(folder, 'memory.md'), markdown);
  return markdown;
}
