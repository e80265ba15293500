import { execFile } from 'node:child_process';
import type { Log } from './log.ts';

/** As long as `systemd-notify` itself waits for its message to be taken, and a little for its start. */
const tellTimeoutMs = 10_000;

/**
 * Tells systemd, or what speaks its language, how far the process is: sd_notify(3). Silent where `NOTIFY_SOCKET` says
 * that nobody listens. Node has no datagram sockets of this kind, so systemd's own program tells it (docs/decisions/0009).
 */
export class ServiceManager {
  readonly #log: Log;
  readonly #env: NodeJS.ProcessEnv;
  /** Messages go out one after the other: READY=1 must not overtake RELOADING=1. */
  #told: Promise<void> = Promise.resolve();
  #failed = false;

  /** @param env where `NOTIFY_SOCKET` and `PATH` are looked up. */
  constructor(log: Log, env: NodeJS.ProcessEnv = process.env) {
    this.#log = log;
    this.#env = env;
  }

  /** Resolves when all that was to be told is told, or cannot be. */
  get told(): Promise<void> {
    return this.#told;
  }

  /** Serves: for the first time, or again after a reload. */
  ready(): void {
    this.#tell('READY=1');
  }

  /** Has begun to read its configuration again; `ready` follows. */
  reloading(): void {
    // Linux: CLOCK_MONOTONIC, as systemd wants it, to tell this reload from an earlier one
    this.#tell('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
  }

  /** Will end, and has begun to. */
  stopping(): void {
    this.#tell('STOPPING=1');
  }

  #tell(...assignments: readonly string[]): void {
    if ((this.#env.NOTIFY_SOCKET ?? '') === '') return;
    this.#told = this.#told.then(
      () =>
        new Promise((resolve) => {
          execFile('systemd-notify', assignments, { env: this.#env, timeout: tellTimeoutMs }, (error) => {
            if (error !== null && !this.#failed) {
              this.#failed = true;
              this.#log.warn({ reason: error.message }, 'the service manager cannot be told how far this is');
            }
            resolve();
          });
        }),
    );
  }
}
