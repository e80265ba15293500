import type { Ledger, Reservation } from '../../src/ledger/ledger.ts';
import { MemoryLedger } from '../../src/ledger/memory.ts';
import type { Engine } from './engine.ts';

/**
 * A stand-in for an engine whose store outlives its gateways: several of them over one memory ledger. It keeps the parts
 * of the model honest that the memory engine leaves out.
 */
export const leasedEngine: Engine = {
  name: 'memory shared by three gateways',
  gateways: 3,
  forgets: false,
  open: async (nowMs) => {
    const store = new MemoryLedger(nowMs);
    const heldBy = new Map<Ledger, Map<Reservation, 'live' | 'unknown'>>();
    return {
      join: async () => {
        const held = new Map<Reservation, 'live' | 'unknown'>();
        const gateway = gatewayOver(store, held);
        heldBy.set(gateway, held);
        return gateway;
      },
      crash: async () => {},
      expire: async (gateway) => {
        for (const reservation of heldBy.get(gateway)?.keys() ?? []) await reservation.settle('released', 0);
        heldBy.delete(gateway);
      },
      close: async () => {},
    };
  },
};

/** A ledger that says of itself only what went through it. */
function gatewayOver(store: MemoryLedger, held: Map<Reservation, 'live' | 'unknown'>): Ledger {
  return {
    reserve: async (claim) => {
      const answer = await store.reserve(claim);
      if ('refused' in answer) return answer;
      const reservation = answer.granted;
      held.set(reservation, 'live');
      return {
        ...answer,
        granted: {
          id: reservation.id,
          get bytes() {
            return reservation.bytes;
          },
          grow: (bytes, leastBytes, enforce) => reservation.grow(bytes, leastBytes, enforce),
          settle: async (outcome, storedBytes) => {
            await reservation.settle(outcome, storedBytes);
            if (outcome !== 'unknown') held.delete(reservation);
            else if (held.has(reservation)) held.set(reservation, 'unknown');
          },
        },
      };
    },
    beginReading: (account) => store.beginReading(account),
    readingAgeMs: (account) => store.readingAgeMs(account),
    savingBytes: () => [...held.keys()].reduce((sum, { bytes }) => sum + bytes, 0),
    uploads: () => [...held.values()].filter((state) => state === 'live').length,
  };
}
