import { Bound } from '../../src/core/bound.ts';
import type { SpliceEngine } from '../../src/lanes/kernel/splice-engine.ts';
import { SpliceLane } from '../../src/lanes/splice.ts';
import { StreamLane } from '../../src/lanes/stream.ts';
import { describeLane } from './lane.ts';

let engine: SpliceEngine | null = null;

if (process.platform === 'linux') {
  describeLane({
    name: 'splice',
    newLane: async () => {
      const { SpliceEngine } = await import('../../src/lanes/kernel/splice-engine.ts');
      engine = await SpliceEngine.start();
      return new SpliceLane(() => engine, new StreamLane());
    },
    bound: (mostBytes) => {
      if (engine === null) throw new Error('there is no engine yet');
      engine.mostHeldBytes = mostBytes;
      return new Bound(mostBytes, () => engine?.heldBytes ?? 0);
    },
    left: () => {
      const { running = 0, heldBytes = 0 } = engine ?? {};
      if (engine !== null) engine.mostHeldBytes = 0;
      return running === 0 && heldBytes === 0 ? {} : { running, heldBytes };
    },
    stop: async () => engine?.kill(),
  });
}
