// npm run nginx-compare [-- [--quick] [--long | --capacity] [--lane LANE] [--only WORKLOAD] [--seconds A_ROUND]]: see README.md.
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { callerToken } from '../bench/measure/caller.ts';
import { FakeKeystone } from '../test/support/fake-keystone.ts';
import { runCapacity } from './capacity.ts';
import { runMemory } from './memory.ts';
import { runRatios } from './ratios.ts';
import { laneName } from './sluice.ts';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    long: { type: 'boolean', default: false },
    capacity: { type: 'boolean', default: false },
    lane: { type: 'string', default: 'auto' },
    only: { type: 'string', default: '' },
    seconds: { type: 'string', default: '3' },
  },
});
const keystone = await FakeKeystone.start();
keystone.tokens.set(callerToken, { user: 'ann', project: 'blue' });
const options = {
  keystone: keystone.url,
  lane: laneName.parse(values.lane),
  quick: values.quick,
  only: values.only,
  roundSeconds: values.quick ? 1 : z.coerce.number().positive().parse(values.seconds),
  command: [
    'npm run nginx-compare',
    ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : []),
  ].join(' '),
  say: (line: string): void => console.error(line),
};
try {
  const run = values.long ? runMemory : values.capacity ? runCapacity : runRatios;
  console.log(await run(options));
} finally {
  await keystone.stop();
}
