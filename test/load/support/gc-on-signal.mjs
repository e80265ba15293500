// Loaded into the gateway by `--import`: SIGUSR2 collects its garbage, so that what is measured is what is held.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');
process.on('SIGUSR2', () => {
  collect();
  collect();
  console.log(JSON.stringify({ msg: 'garbage collected', ...process.memoryUsage() }));
});
