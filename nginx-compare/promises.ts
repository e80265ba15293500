import { spreadOf } from '../bench/rounds.ts';

/** What is held of Sluice against one peer, in one column of one workload. */
export interface RatioPromise {
  readonly text: string;
  readonly workload: string;
  readonly figure: string;
  readonly peer: string;
  /** Another whose ratio is shown too, and decides nothing. */
  readonly beside?: string;
  /** Of Sluice's median to the peer's. */
  readonly bound: { readonly atMost: number } | { readonly atLeast: number };
}

/** As much of a comparison as a promise needs. */
export interface Measured {
  readonly workload: string;
  readonly rows: readonly {
    readonly contender: string;
    readonly figures: Readonly<Record<string, readonly number[]>>;
    readonly failure: string | null;
  }[];
}

export interface Verdict extends RatioPromise {
  /** Null where one of the two was not measured. */
  readonly ratio: number | null;
  /** To the one beside; null where there is none, or one of the two was not measured. */
  readonly besideRatio: number | null;
  /** Medians of fewer than five rounds decide nothing. */
  readonly outcome: 'met' | 'missed' | 'not measured' | 'too few rounds';
}

/** The name of the contender that the promises are about. */
export const ours = 'sluice';

const leastRounds = 5;
/** The strongest of nginx's rows, not the one as installed: what Sluice is worth to somebody who knows nginx. */
const nginx = 'nginx tuned, 1 worker';
/** What two lines that a search finds make of it. */
const nginxStreaming = 'nginx, buffering off';

export const promises: readonly RatioPromise[] = [
  {
    text: 'uploads by length: CPU for a GB',
    workload: 'uploads-by-length',
    figure: 'cpu',
    peer: nginx,
    beside: nginxStreaming,
    bound: { atMost: 0.25 },
  },
  {
    text: 'uploads by length: throughput',
    workload: 'uploads-by-length',
    figure: 'speed',
    peer: nginx,
    beside: nginxStreaming,
    bound: { atLeast: 2 },
  },
  {
    text: 'downloads: CPU for a GB',
    workload: 'downloads',
    figure: 'cpu',
    peer: nginx,
    beside: nginxStreaming,
    bound: { atMost: 0.45 },
  },
  {
    text: 'uploads of unknown length, chunks of 64 KiB: CPU for a GB',
    workload: 'uploads-chunked-64k',
    figure: 'cpu',
    peer: nginx,
    beside: nginxStreaming,
    bound: { atMost: 0.5 },
  },
  {
    text: 'uploads of unknown length, chunks of 1 MiB: CPU for a GB',
    workload: 'uploads-chunked-1m',
    figure: 'cpu',
    peer: nginx,
    beside: nginxStreaming,
    bound: { atMost: 0.5 },
  },
  {
    text: 'small requests: CPU for one',
    workload: 'small-requests',
    figure: 'cpu',
    peer: 'http-proxy',
    beside: 'http-proxy as installed',
    bound: { atMost: 0.5 },
  },
];

/** Of the medians; null where one of the two was not measured. */
const ratioOf = (own: readonly number[], theirs: readonly number[]): number | null =>
  own.length === 0 || theirs.length === 0 ? null : spreadOf(own).median / spreadOf(theirs).median;

/** What the comparisons of one run say of each promise. */
export function judge(all: readonly RatioPromise[], run: readonly Measured[]): Verdict[] {
  return all.map((promise) => {
    const rows = run.find(({ workload }) => workload === promise.workload)?.rows ?? [];
    const figuresOf = (name: string): readonly number[] => {
      const row = rows.find(({ contender }) => contender === name);
      return row === undefined || row.failure !== null ? [] : (row.figures[promise.figure] ?? []);
    };
    const [own, theirs] = [figuresOf(ours), figuresOf(promise.peer)];
    const besideRatio = promise.beside === undefined ? null : ratioOf(own, figuresOf(promise.beside));
    const ratio = ratioOf(own, theirs);
    if (ratio === null) return { ...promise, ratio, besideRatio, outcome: 'not measured' };
    if (Math.min(own.length, theirs.length) < leastRounds)
      return { ...promise, ratio, besideRatio, outcome: 'too few rounds' };
    const { bound } = promise;
    const met = 'atMost' in bound ? ratio <= bound.atMost : ratio >= bound.atLeast;
    return { ...promise, ratio, besideRatio, outcome: met ? 'met' : 'missed' };
  });
}
