import { shown } from '../bench/measure/shown.ts';
import { spreadOf } from '../bench/rounds.ts';
import { KiB, MiB } from '../src/core/units.ts';
import type { CapacityPoint, CapacityRun, RatioRun } from './capacity-run.ts';
import { ours } from './promises.ts';

/** 25 Gbit/s, without what frames and packets take. */
const portGBPerSecond = 25 / 8;

const median = (figures: readonly number[]): number => spreadOf(figures).median;

/** Resident memory that each waiting upload adds, in bytes. */
export const eachBytes = ({ waiting, beforeBytes, residentBytes }: CapacityPoint): number =>
  (median(residentBytes) - median(beforeBytes)) / waiting;

/** One kind of flow, by its workload's name, in a run of the ratios. */
function cpuOf(run: RatioRun, workload: string): number {
  const rows = run.comparisons.find((each) => each.workload === workload)?.rows ?? [];
  const row = rows.find(({ contender, failure }) => contender === ours && failure === null);
  const figures = (row?.figures.cpu ?? []).filter((figure) => figure !== null);
  if (figures.length === 0) throw new Error(`the run has no figure of ${ours} in ${workload}`);
  return median(figures);
}

const flows = [
  ['uploads by length', 'uploads-by-length'],
  ['uploads in chunks of 64 KiB', 'uploads-chunked-64k'],
  ['uploads in chunks of 1 MiB', 'uploads-chunked-1m'],
  ['downloads', 'downloads'],
] as const;

const requests = [
  ["a request (an image's record)", 'small-requests'],
  ['an upload (of 1 KiB: identity, image looked up, quota, ledger)', 'small-uploads'],
] as const;

function source({ begunAt, command, commit, machine }: RatioRun | CapacityRun, file: string): string {
  const when = begunAt.slice(0, 16).replace('T', ' ');
  return (
    `\`${command}\` of ${when} UTC ([figures](../nginx-compare/results/${file})): commit ${commit}, ` +
    `${machine.processors} cores of ${machine.processor}, Linux ${machine.kernel}, Node ${machine.node}, load before ${machine.loadBefore}`
  );
}

/** docs/capacity.md: nothing in it is written by hand. */
export function capacityPage(ratios: RatioRun, capacity: CapacityRun): string {
  const { points } = capacity;
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined) throw new Error('a curve without points');
  const versions = ratios.comparisons.flatMap(({ rows }) =>
    rows.filter(({ contender }) => contender === ours),
  );
  const costs = flows.map(([title, workload]) => {
    const cpu = cpuOf(ratios, workload);
    return `| ${title} | ${shown(cpu)} s/GB | ${shown(1 / cpu)} GB/s (${shown(8 / cpu)} Gbit/s) | ${shown(cpu * portGBPerSecond)} |`;
  });
  const each = requests.map(([title, workload]) => {
    const microseconds = cpuOf(ratios, workload);
    return `| ${title} | ${shown(microseconds)} µs | ${shown(1e6 / microseconds)} a second |`;
  });
  const waitingCpu = median(last.waitingCores) / last.waiting;
  const curve = points.map((point) => {
    const cells = [
      `${point.waiting}`,
      shown(median(point.residentBytes) / MiB),
      // of few uploads the memory is less than what a process gains and loses by itself
      point.waiting < 100 ? '' : shown(eachBytes(point) / KiB),
      shown(median(point.waitingCores)),
      shown(median(point.cpuSecondsPerGB)),
      shown(median(point.gigabytesPerSecond)),
      shown(median(point.cpuSecondsPerUpload) * 1e6),
    ];
    return `| ${cells.join(' | ')} |`;
  });
  const growth = median(last.cpuSecondsPerGB) / median(first.cpuSecondsPerGB);
  return `<!-- written by nginx-compare/write-capacity-page.ts from the JSON of two runs; a test compares -->
# Capacity

What Sluice costs with identity, quota and ledger on, and what a machine carries by that: figures are medians of
measurements on loopback, so the work of a network card and its driver comes on top. Lane and version: ${versions[0]?.version ?? '?'}.

- ${source(ratios, 'ratios.json')}.
- ${source(capacity, 'capacity.json')}.

## What things cost, and what one core carries

| bytes | CPU | one core | cores for a port of 25 Gbit/s (${portGBPerSecond} GB/s) |
| --- | --- | --- | --- |
${costs.join('\n')}

| one of | CPU | one core |
| --- | --- | --- |
${each.join('\n')}
| a waiting upload (of ${last.waiting}) | ${shown(waitingCpu * 1e6)} µs a second | ${shown(1 / waitingCpu)} at once |

A waiting upload is resident with ${shown(eachBytes(last) / KiB)} KiB. It costs CPU because its image is looked up every
\`upload.watch_interval\`, and its client is looked at. In the lane \`stream\` one process uses one core, and a little more for the kernel and for collecting garbage:
what the table says beyond one core needs more processes behind one address, and with \`ledger.type: memory\` each of them counts by itself.

## How cost grows with connections

So many uploads wait, each on a connection of its own: 64 KiB of 64 MiB are sent, then half of them send 1 KiB every 10 s and
the others nothing. Beside them 4 connections upload as fast as they can, then 32 upload 0 bytes at a time; CPU is that of the whole process.

| waiting | resident, MiB | each, KiB | CPU while they wait, cores | beside them, CPU s/GB | GB/s | CPU of an upload of 0 bytes, µs |
| --- | --- | --- | --- | --- | --- | --- |
${curve.join('\n')}

With ${last.waiting} waiting a GB costs ${shown(growth)} times what it costs with ${first.waiting}.

![CPU for a GB](../nginx-compare/results/capacity-cpu.svg)
![Memory](../nginx-compare/results/capacity-memory.svg)
`;
}
