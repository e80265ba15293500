import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { contenders as nodes, ofSmallRequests } from '../bench/contenders/contenders.ts';
import { type Comparison, compare } from '../bench/measure/comparison.ts';
import type { Contender } from '../bench/measure/contender.ts';
import { thisMachine } from '../bench/measure/machine.ts';
import { type Report, writeReport } from '../bench/measure/report.ts';
import { smallRequests } from '../bench/measure/small-requests.ts';
import { transfer } from '../bench/measure/transfer.ts';
import type { Workload } from '../bench/measure/workload.ts';
import { KiB, MiB } from '../src/core/units.ts';
import { writeCapacityPage } from './capacity-files.ts';
import { type HaproxyBytes, haproxy } from './haproxy.ts';
import { asInstalled, tunedNginx, unbuffered, withQuotaService } from './nginx.ts';
import { judge, promises, type Verdict } from './promises.ts';
import { resultsFolder } from './results.ts';
import { commit, type RunOptions } from './run-options.ts';
import { sluice } from './sluice.ts';
import { ratiosMarkdown, splicedMarkdown, verdictsMarkdown } from './tables.ts';

/** What HAProxy says that it moved in one workload, its proof among it. */
export interface SplicedShare extends HaproxyBytes {
  readonly workload: string;
  readonly contender: string;
}

interface RatioReport extends Report {
  readonly commit: string;
  readonly spliced: readonly SplicedShare[];
  readonly verdicts: readonly Verdict[];
}

function workloads(roundSeconds: number): Workload[] {
  const bodies = { bodyBytes: 512 * MiB, connections: 4, keepAlive: true, roundSeconds, per: 'GB' } as const;
  const upload = (name: string, title: string, frameBytes: number): Workload =>
    transfer({ ...bodies, name, title, kind: 'upload', frameBytes });
  return [
    upload('uploads-by-length', 'Uploads of 512 MiB by length, 4 at once', 0),
    upload('uploads-chunked-64k', 'Uploads of 512 MiB in chunks of 64 KiB, 4 at once', 64 * KiB),
    upload('uploads-chunked-1m', 'Uploads of 512 MiB in chunks of 1 MiB, 4 at once', MiB),
    transfer({
      ...bodies,
      name: 'downloads',
      title: 'Downloads of 512 MiB, 4 at once',
      kind: 'download',
      frameBytes: 0,
    }),
    smallRequests({
      name: 'small-requests',
      title: "Small requests: an image's record, over 32 connections",
      connections: 32,
      roundSeconds,
    }),
    transfer({
      ...bodies,
      name: 'small-uploads',
      title: 'Uploads of 1 KiB, 32 at once',
      kind: 'upload',
      frameBytes: 0,
      bodyBytes: KiB,
      connections: 32,
      per: 'body',
    }),
  ];
}

/** Of `npm run bench`, as that sets it up. @throws Error where it is not among them. */
function nodeContender(name: string): Contender {
  const found = nodes.find((each) => each.name === name);
  if (found === undefined) throw new Error(`npm run bench has no ${name}`);
  return found;
}

/** All contenders in all workloads. @returns the report's Markdown. */
export async function runRatios({
  keystone,
  lane,
  quick,
  only,
  roundSeconds,
  command,
  say,
}: RunOptions): Promise<string> {
  const spliced: SplicedShare[] = [];
  const comparisons: Comparison[] = [];
  const begun = { title: 'Sluice beside nginx and HAProxy', command, begunAt: new Date().toISOString() };
  const about = { ...begun, machine: thisMachine(), commit: commit() };
  for (const workload of workloads(roundSeconds).filter(({ name }) => only === '' || name === only)) {
    const moved = new Map<string, HaproxyBytes>();
    const tell = (name: string, bytes: HaproxyBytes): void => void moved.set(name, bytes);
    const contenders = [
      sluice(keystone, lane),
      tunedNginx(1),
      tunedNginx(2),
      withQuotaService(keystone),
      unbuffered(),
      asInstalled(),
      haproxy('copies', tell),
      haproxy('auto', tell),
      haproxy('splices', tell),
      nodeContender('http-proxy'),
      ...(workload.name === 'small-requests' ? ofSmallRequests : []),
    ];
    comparisons.push(await compare(workload, contenders, quick ? 1 : 5, say));
    for (const [contender, bytes] of moved) spliced.push({ workload: workload.name, contender, ...bytes });
  }
  const verdicts = judge(promises, comparisons);
  const report: RatioReport = { ...about, comparisons, spliced, verdicts };
  const folder = resultsFolder(quick);
  const name = 'ratios';
  const markdown = [
    await writeReport(report, folder, name),
    `Commit ${report.commit}.`,
    ratiosMarkdown(comparisons),
    splicedMarkdown(spliced),
    verdictsMarkdown(verdicts),
    '',
  ].join('\n\n');
  await writeFile(join(folder, `${name}.md`), markdown);
  if (!quick && only === '') await writeCapacityPage();
  return markdown;
}
