/** The middle of some figures (of an even number the mean of the two in the middle), and how far the others lie apart. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** @throws RangeError without any figure. */
export function spreadOf(figures: readonly number[]): Spread {
  const sorted = figures.toSorted((a, b) => a - b);
  const [least] = sorted;
  const most = sorted.at(-1);
  const [below, above] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  if (least === undefined || most === undefined || below === undefined || above === undefined) {
    throw new RangeError('no figures');
  }
  return { median: (below + above) / 2, least, most };
}

/**
 * Times several contenders in alternating rounds, so that what else the machine does falls on all of them alike.
 * A round before the first is not counted.
 * @returns by name, one figure (or whatever `run` returns) a round.
 */
export async function alternate<Figure = number>(
  contenders: Readonly<Record<string, () => Promise<Figure>>>,
  rounds: number,
): Promise<Map<string, Figure[]>> {
  const figures = new Map(Object.keys(contenders).map((name): [string, Figure[]] => [name, []]));
  for (let round = -1; round < rounds; round += 1) {
    for (const [name, run] of Object.entries(contenders)) {
      const figure = await run();
      if (round >= 0) figures.get(name)?.push(figure);
    }
  }
  return figures;
}

/** One row of a table: median, spread, and the ratio of the medians to a peer's. */
export function row(name: string, figures: readonly number[], peer: readonly number[], unit: string): string {
  const { median, least, most } = spreadOf(figures);
  const ratio = median / spreadOf(peer).median;
  const show = (figure: number): string => figure.toFixed(figure < 10 ? 2 : figure < 1000 ? 1 : 0);
  return `| ${name} | ${show(median)} ${unit} | ${show(least)} to ${show(most)} | ${ratio.toFixed(2)} |`;
}
