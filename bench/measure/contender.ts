/** A proxy that is compared. */
export interface Contender {
  readonly name: string;
  /** @throws ContenderUnavailable */
  version(): Promise<string>;
  /**
   * Starts it anew on a port of loopback, before an origin there; resolves when it takes connections.
   * @throws ContenderUnavailable if it cannot be had on this machine.
   */
  start(options: { readonly originPort: number }): Promise<RunningContender>;
}

export interface RunningContender {
  readonly port: number;
  /** Its processes; what they start is found without. None: no proxy at all. */
  readonly pids: readonly number[];
  /** Lets it give back what it does not use; left out where nothing can be done. */
  collectGarbage?(): Promise<void>;
  stop(): Promise<void>;
}

/** It is not installed, or not built yet: shown with the reason, and not measured. */
export class ContenderUnavailable extends Error {}

/** No proxy: what the load generator and the origin can do by themselves. */
export const direct: Contender = {
  name: 'direct',
  version: async () => '',
  start: async ({ originPort }) => ({ port: originPort, pids: [], stop: async () => {} }),
};
