import assert from 'node:assert/strict';
import { MemoryLedger } from '../../src/ledger/memory.ts';
import { leasedEngine } from './leased-engine.ts';
import { describeLedger } from './ledger.ts';
import { describeLedgerModel } from './ledger-model.ts';
import { memoryEngine } from './memory-engine.ts';

describeLedger('memory', (nowMs) => new MemoryLedger(nowMs));

// thousands of operations each; `npm run test:model` runs a million
describeLedgerModel(memoryEngine('memory'), 250);
describeLedgerModel(memoryEngine('memory that forgets', 2), 300);
describeLedgerModel(leasedEngine, 150);

describe('the memory ledger', () => {
  it('forgets the id of a settled reservation, so that ids do not pile up', async () => {
    const ledger = new MemoryLedger(() => 0);
    const claim = { id: 'upload', charges: [], bytes: 1, leastBytes: 1, enforce: true };
    for (let round = 0; round < 2; round += 1) {
      const answer = await ledger.reserve(claim);
      if ('refused' in answer) assert.fail('refused without a limit');
      await answer.granted.settle('released', 0);
    }
    assert.equal(ledger.savingBytes(), 0);
  });
});
