import type { EventEmitter } from 'node:events';
import type { Config } from './config/config.ts';
import type { Gateway } from './gateway.ts';
import type { Log } from './log.ts';
import type { ServiceManager } from './service-manager.ts';

/** What runs, as far as signals have a say in it. */
export type Governed = Pick<Gateway, 'start' | 'reload' | 'reloadFailed' | 'drain' | 'stopNow'>;

export interface Charge {
  readonly gateway: Governed;
  readonly log: Log;
  readonly manager: Pick<ServiceManager, 'ready' | 'reloading' | 'stopping'>;
  /** The configuration as it is written now; null where it is wrong, which has been said then. */
  readConfig(): Promise<Config | null>;
  /** Cleans up when all is over. */
  atEnd(): Promise<void>;
}

/**
 * From the start of a process to its end, as signals want it: SIGHUP reads the configuration again, SIGTERM drains, a
 * second one or SIGINT ends at once. A signal that comes while it starts waits until it has started.
 */
export class Lifetime {
  /** Resolves when what ran has ended and is cleaned up. */
  readonly ended: Promise<void>;
  readonly #end: () => void;
  #charge: Charge | null = null;
  #stop: 'drain' | 'now' | null = null;
  #stopBegun: 'drain' | 'now' | null = null;
  #cleanedUp: Promise<void> | null = null;
  #reloadWanted = false;
  #reloading = false;

  /** @param signals listened to from now on: the process. */
  constructor(signals: EventEmitter) {
    let end = (): void => {};
    this.ended = new Promise((resolve) => {
      end = resolve;
    });
    this.#end = end;
    signals.on('SIGTERM', () => this.#stopWanted(this.#stop === null ? 'drain' : 'now'));
    signals.on('SIGINT', () => this.#stopWanted('now'));
    signals.on('SIGHUP', () => {
      this.#reloadWanted = true;
      void this.#reloadAsWanted();
    });
  }

  /** Resolves when the gateway serves. Rejects as `Gateway.start` does, and then `atEnd` is the caller's to call. */
  async serve(charge: Charge): Promise<void> {
    await charge.gateway.start();
    this.#charge = charge;
    charge.manager.ready();
    this.#stopAsWanted();
    void this.#reloadAsWanted();
  }

  #stopWanted(how: 'drain' | 'now'): void {
    this.#stop = how;
    this.#stopAsWanted();
  }

  #stopAsWanted(): void {
    if (this.#charge === null || this.#stop === this.#stopBegun || this.#stopBegun === 'now') return;
    const { gateway, manager, atEnd } = this.#charge;
    if (this.#stopBegun === null) manager.stopping();
    this.#stopBegun = this.#stop;
    const stopped = this.#stop === 'now' ? gateway.stopNow() : gateway.drain();
    // a drain that is cut short comes to its end too: there is one clean-up, and the process waits for it
    void stopped.then(() => (this.#cleanedUp ??= atEnd())).then(this.#end);
  }

  /** One reading at a time, and after the last signal one more: what is written last is what holds. */
  async #reloadAsWanted(): Promise<void> {
    if (this.#charge === null || this.#reloading) return;
    this.#reloading = true;
    while (this.#reloadWanted) {
      this.#reloadWanted = false;
      await this.#reload(this.#charge);
    }
    this.#reloading = false;
  }

  async #reload({ gateway, log, manager, readConfig }: Charge): Promise<void> {
    if (this.#refuseToReload(log)) return;
    manager.reloading();
    const config = await readConfig();
    if (this.#refuseToReload(log)) return;
    if (config === null) gateway.reloadFailed();
    else {
      const { needRestart } = gateway.reload(config);
      log.level = config.log.level;
      log.info('reloaded');
      if (needRestart.length > 0) {
        log.warn({ keys: needRestart }, 'these keys have changed, and need a restart to take effect');
      }
    }
    manager.ready();
  }

  #refuseToReload(log: Log): boolean {
    if (this.#stop === null) return false;
    log.warn('reload refused: the gateway is shutting down');
    return true;
  }
}
