import { z } from 'zod';
import { leasedEngine } from './leased-engine.ts';
import { modelSeed, runLedgerModel } from './ledger-model.ts';
import { memoryEngine } from './memory-engine.ts';

/**
 * The model of the ledger in its long form: `npm run test:model`.
 * SLUICE_MODEL_OPERATIONS = commands in all, at least (1,000,000 where it is not set); the engines share them evenly.
 * SLUICE_MODEL_SEED = the seed to begin with. Exit code 1 where an engine and the model differ.
 */
const operations = z.coerce
  .number()
  .int()
  .min(1)
  .default(1_000_000)
  .parse(process.env.SLUICE_MODEL_OPERATIONS);
const firstSeed = modelSeed(process.env);
/** Between two looks at how many operations there were. */
const sequencesAtOnce = 100;

const engines = [memoryEngine('memory'), memoryEngine('memory that forgets', 2), leasedEngine];
let passed = 0;
let failed = 0;
for (const engine of engines) {
  const total = new Map<string, number>();
  const done = (): number => [...total.values()].reduce((sum, count) => sum + count, 0);
  let failure: string | null = null;
  for (let seed = firstSeed; failure === null && done() < operations / engines.length; seed += 1) {
    // a seed has 32 bits
    const run = await runLedgerModel(engine, seed | 0, sequencesAtOnce);
    failure = run.failure;
    passed += failure === null ? sequencesAtOnce : 0;
    failed += failure === null ? 0 : 1;
    for (const [name, count] of run.ran) total.set(name, (total.get(name) ?? 0) + count);
  }
  console.log(`${engine.name}: ${done()} operations, from seed ${firstSeed}`);
  for (const [name, count] of [...total].sort(([, one], [, other]) => other - one)) {
    console.log(`${String(count).padStart(10)} ${name}`);
  }
  if (failure !== null) console.log(failure);
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
