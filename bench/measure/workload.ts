import type { Contender, RunningContender } from './contender.ts';

/** One column of a table. */
export interface FigureKind {
  readonly key: string;
  readonly title: string;
  readonly unit: string;
  readonly better: 'less' | 'more';
  /** It has a plot of its own. */
  readonly plotted: boolean;
}

/** What one round gave, by the key of the column; where there is no proxy, it has no figures. */
export type Figures = Readonly<Record<string, number>>;

/** Something that every contender is to do. */
export interface Workload {
  /** In file names and on the command line. */
  readonly name: string;
  readonly title: string;
  readonly figures: readonly FigureKind[];
  /** It is not measured in more rounds than that; left out: in as many as are wanted. */
  readonly mostRounds?: number;
  /** Shows that a contender does it right. @throws Error that says what is wrong. */
  prove(contender: Contender): Promise<void>;
  /** Starts what is needed beside the contenders. */
  open(): Promise<OpenWorkload>;
}

export interface OpenWorkload {
  readonly originPort: number;
  /**
   * @returns one round of it; the first is a warm-up, and not counted.
   * @throws Error, from a round, if the contender does not do it to the end.
   */
  rounds(contender: RunningContender): () => Promise<Figures>;
  close(): Promise<void>;
}
