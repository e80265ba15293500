import { openLog } from '../../src/log.ts';

const [count, how] = process.argv.slice(2);

/** A process that logs as many lines as it is told at once, and ends; of an error, if it is told `dies`. */
const { log, close } = openLog('info');
for (let line = 0; line < Number(count); line += 1) log.info({ line, padding: 'x'.repeat(1_000) }, 'said');
if (how === 'dies') throw new Error('as a defect would have it');
await close();
log.info('said too late');
process.exit(0);
