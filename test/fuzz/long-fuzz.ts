import { randomInt } from 'node:crypto';
import { z } from 'zod';
import { fuzz } from './fuzz-run.ts';

/**
 * The fuzzer in its long form: `npm run test:fuzz`.
 * SLUICE_FUZZ_REQUESTS = requests over the wire, at least (100,000 where it is not set).
 * SLUICE_FUZZ_SEED = the seed; random where it is not set. SLUICE_FUZZ_CASE = the number of the one case to play.
 * Exit code 1 where a case failed.
 */
const { SLUICE_FUZZ_REQUESTS, SLUICE_FUZZ_SEED, SLUICE_FUZZ_CASE } = process.env;
const whole = z.coerce.number().int().min(0);
const seed = whole.default(randomInt(2 ** 31)).parse(SLUICE_FUZZ_SEED);
const one = SLUICE_FUZZ_CASE === undefined ? null : whole.parse(SLUICE_FUZZ_CASE);
const requests = one === null ? whole.default(100_000).parse(SLUICE_FUZZ_REQUESTS) : 1;

console.log(`seed ${seed}`);
const beganMs = performance.now();
const totals = await fuzz({
  seed,
  first: one ?? 0,
  requests,
  progress: ({ sent, cases, failures }) => {
    const seconds = ((performance.now() - beganMs) / 1000).toFixed(0);
    if (cases % 10_000 === 0)
      console.log(`${sent} requests in ${cases} cases, ${seconds} s, ${failures.length} failures`);
  },
});
const seconds = (performance.now() - beganMs) / 1000;
for (const [name, count] of [...totals.answers].sort(([, some], [, others]) => others - some)) {
  console.log(`${String(count).padStart(10)} ${name}`);
}
for (const failure of totals.failures) console.log(`\n${failure}`);
console.log(
  `${totals.sent} requests in ${totals.cases} cases, ${totals.forwarded} reached the upstream, ${seconds.toFixed(0)} s`,
);
console.log(`${totals.cases - totals.failures.length} passed, ${totals.failures.length} failed`);
process.exitCode = totals.failures.length === 0 ? 0 : 1;
