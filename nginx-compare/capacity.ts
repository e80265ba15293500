import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { thisMachine } from '../bench/measure/machine.ts';
import { spreadOf } from '../bench/rounds.ts';
import { MiB } from '../src/core/units.ts';
import { capacityCurve, quickCurve, wholeCurve } from './capacity-curve.ts';
import { writeCapacityPage } from './capacity-files.ts';
import type { CapacityPoint, CapacityRun } from './capacity-run.ts';
import { linePlot } from './line-plot.ts';
import { resultsFolder } from './results.ts';
import { commit, type RunOptions } from './run-options.ts';
import { sluice } from './sluice.ts';

/** What a gateway costs while 1 to 9,000 uploads wait. @returns a summary. */
export async function runCapacity({ keystone, lane, quick, command, say }: RunOptions): Promise<string> {
  const contender = sluice(keystone, lane);
  const about = {
    command,
    begunAt: new Date().toISOString(),
    machine: { ...thisMachine() },
    commit: commit(),
  };
  const version = await contender.version();
  const points = await capacityCurve(contender, quick ? quickCurve : wholeCurve, say);
  const run: CapacityRun = { ...about, version, points };
  const folder = resultsFolder(quick);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'capacity.json'), `${JSON.stringify(run, null, 2)}\n`);
  const plot = async (name: string, title: string, up: string, of: (point: CapacityPoint) => number) => {
    const placed = points.map((point) => ({ x: point.waiting, y: of(point) }));
    const svg = linePlot({ title, across: 'uploads that wait', up, logarithmic: true, points: placed });
    await writeFile(join(folder, `capacity-${name}.svg`), svg);
  };
  const median = (figures: readonly number[]): number => spreadOf(figures).median;
  await plot('cpu', 'CPU for a GB while others wait', 's/GB', (point) => median(point.cpuSecondsPerGB));
  await plot(
    'memory',
    'Memory while uploads wait',
    'resident, MiB',
    (point) => median(point.residentBytes) / MiB,
  );
  if (!quick) await writeCapacityPage();
  return JSON.stringify(points);
}
