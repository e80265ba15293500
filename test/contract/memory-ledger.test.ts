import { MemoryLedger } from '../../src/ledger/memory.ts';
import { describeLedger } from './ledger.ts';

describeLedger('memory', (nowMs) => new MemoryLedger(nowMs));
