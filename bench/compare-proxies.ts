// Sluice and other proxies of Node's, by everything that an upload gateway is for: `npm run bench`.
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { contenders, ofSmallRequests } from './contenders/contenders.ts';
import { type Comparison, compare } from './measure/comparison.ts';
import { thisMachine } from './measure/machine.ts';
import { writeReport } from './measure/report.ts';
import { workloads } from './measure/workloads.ts';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    workloads: { type: 'string' },
    contenders: { type: 'string' },
    out: { type: 'string', default: fileURLToPath(new URL('results', import.meta.url)) },
    name: { type: 'string', default: 'proxies' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

const { quick } = values;
const size = {
  roundSeconds: numberOf(values.seconds, quick ? 0.3 : 1),
  heldUploads: quick ? 200 : 1_000,
  earlyAnswers: quick ? 4 : 10,
};
const rounds = Math.round(numberOf(values.rounds, quick ? 2 : 5));
const all = workloads(size);
const everybody = [...contenders, ...ofSmallRequests];

if (values.help) {
  console.log(`npm run bench -- [--quick] [--rounds N] [--seconds S] [--workloads A,B] [--contenders A,B] [--out FOLDER] [--name NAME]
  --quick       two short rounds, a minute or two: to see that it works, not to believe the figures
  --rounds      counted rounds, after one that is not (5)
  --seconds     of one contender in one round (1)
  --out, --name where NAME.json, NAME.md and NAME-*.svg are written (bench/results, proxies)
workloads:  ${all.map(({ name }) => name).join(', ')}
contenders: ${everybody.map(({ name }) => name).join(', ')}`);
} else {
  const begunAt = new Date().toISOString();
  const machine = thisMachine();
  console.log(machine);
  const comparisons: Comparison[] = [];
  for (const workload of chosen(all, values.workloads)) {
    const asked = chosen(everybody, values.contenders);
    const takePart = asked.filter((each) => workload.name === 'requests' || !ofSmallRequests.includes(each));
    comparisons.push(await compare(workload, takePart, rounds, console.log));
  }
  const command = [
    'npm run bench',
    ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : []),
  ].join(' ');
  const title = 'Sluice beside other proxies of Node';
  console.log(await writeReport({ title, command, begunAt, machine, comparisons }, values.out, values.name));
}

/** @throws RangeError */
function numberOf(written: string | undefined, otherwise: number): number {
  const number = written === undefined ? otherwise : Number(written);
  if (!(number > 0)) throw new RangeError(`${written} is no number above 0`);
  return number;
}

/** Those that are named, in their own order. @throws RangeError for a name that none has. */
function chosen<Named extends { readonly name: string }>(
  from: readonly Named[],
  names: string | undefined,
): readonly Named[] {
  if (names === undefined) return from;
  const wanted = names.split(',');
  for (const name of wanted) {
    if (!from.some((each) => each.name === name))
      throw new RangeError(`nothing is called ${name}: see --help`);
  }
  return from.filter(({ name }) => wanted.includes(name));
}
