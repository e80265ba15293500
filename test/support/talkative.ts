import { openLog } from '../../src/log.ts';

/** A process that logs a thousand lines at once, and ends. */
const { log, close } = openLog('info');
for (let line = 0; line < 1_000; line += 1) log.info({ line, padding: 'x'.repeat(1_000) }, 'said');
await close();
log.info('said too late');
process.exit(0);
