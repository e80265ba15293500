import type { Ledger } from '../../src/ledger/ledger.ts';

/** How the model gets hold of an engine. What an engine cannot do it declares here, and the model leaves it out. */
export interface Engine {
  readonly name: string;
  /** Gateways that count together over one store, at least 1. 1 where the store lives in the gateway's process. */
  readonly gateways: number;
  /** True where an account without uploads may be forgotten, its reading with it. */
  readonly forgets: boolean;
  /** A store that nothing else uses. @param nowMs a clock that never goes back, in milliseconds. */
  open(nowMs: () => number): Promise<Store>;
}

export interface Store {
  /** A gateway that begins, with nothing in flight. */
  join(): Promise<Ledger>;
  /** The gateway falls silent: it says nothing more, but what it has said may still arrive. */
  crash(gateway: Ledger): Promise<void>;
  /**
   * The lease of a silent gateway runs out: what it has in flight is released, and what arrives of it later changes nothing.
   * Null where there are no leases: there a crash takes the store with it, and the gateway that joins next knows nothing.
   */
  readonly expire: ((gateway: Ledger) => Promise<void>) | null;
  close(): Promise<void>;
}
