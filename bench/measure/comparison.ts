import { alternate } from '../rounds.ts';
import type { Contender, RunningContender } from './contender.ts';
import type { FigureKind, Figures, Workload } from './workload.ts';

/** One contender in one workload: its figures, one for each round, by the key of the column; or why there are none. */
export interface ComparisonRow {
  readonly contender: string;
  readonly version: string;
  readonly figures: Readonly<Record<string, readonly number[]>>;
  /** Why it was not measured, or not to the end; null: it was. */
  readonly failure: string | null;
}

/** What all contenders gave in one workload. */
export interface Comparison {
  readonly workload: string;
  readonly title: string;
  readonly columns: readonly FigureKind[];
  readonly rounds: number;
  readonly rows: readonly ComparisonRow[];
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/**
 * Proves that each contender does the workload right, then measures those that do: all run side by side, and take turns.
 * One that fails is shown with the reason.
 * @param say told what is being done.
 */
export async function compare(
  workload: Workload,
  contenders: readonly Contender[],
  wantedRounds: number,
  say: (line: string) => void,
): Promise<Comparison> {
  const rounds = Math.min(wantedRounds, workload.mostRounds ?? wantedRounds);
  const versions = new Map<string, string>();
  const failures = new Map<string, string>();
  const fails = (name: string, error: unknown): void => {
    failures.set(name, reasonOf(error));
    say(`${workload.name}: ${name} fails: ${reasonOf(error)}`);
  };
  for (const contender of contenders) {
    try {
      versions.set(contender.name, await contender.version());
      await workload.prove(contender);
    } catch (error) {
      fails(contender.name, error);
    }
  }
  const open = await workload.open();
  const running: RunningContender[] = [];
  try {
    const turns: Record<string, () => Promise<Figures | null>> = {};
    for (const contender of contenders) {
      const { name } = contender;
      if (failures.has(name)) continue;
      try {
        const started = await contender.start({ originPort: open.originPort });
        running.push(started);
        const round = open.rounds(started);
        turns[name] = async () => {
          if (failures.has(name)) return null;
          try {
            return await round();
          } catch (error) {
            fails(name, error);
            return null;
          }
        };
      } catch (error) {
        fails(name, error);
      }
    }
    say(`${workload.name}: ${rounds} rounds of ${Object.keys(turns).length} contenders`);
    const all = await alternate(turns, rounds);
    const rows = contenders.map(({ name }): ComparisonRow => {
      const failure = failures.get(name) ?? null;
      const measured = failure === null ? (all.get(name) ?? []).filter((each) => each !== null) : [];
      const figures = Object.fromEntries(
        workload.figures.map(({ key }) => [key, measured.flatMap((each) => each[key] ?? [])]),
      );
      return { contender: name, version: versions.get(name) ?? '', figures, failure };
    });
    const { name, title, figures: columns } = workload;
    return { workload: name, title, columns, rounds, rows };
  } finally {
    await Promise.all(running.map((each) => each.stop()));
    await open.close();
  }
}
