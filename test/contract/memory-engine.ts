import { MemoryLedger } from '../../src/ledger/memory.ts';
import type { Engine } from './engine.ts';

/** The engine of one process. @param idleAccounts as `MemoryLedger` takes it; undefined = its own default. */
export const memoryEngine = (name: string, idleAccounts?: number): Engine => ({
  name,
  gateways: 1,
  forgets: idleAccounts !== undefined,
  open: async (nowMs) => ({
    join: async () => new MemoryLedger(nowMs, idleAccounts),
    crash: async () => {},
    expire: null,
    close: async () => {},
  }),
});
