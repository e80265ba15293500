import type { Config } from './config/config.ts';
import { readWhole } from './http/ask.ts';
import type { ConnectionPool } from './http/connection-pool.ts';
import type { UpstreamServer } from './upstream-server.ts';

type CheckOptions = Config['upstream']['health'];

/** Asks each server from time to time whether it is well. */
export class HealthChecks {
  readonly #checks: readonly ServerCheck[];

  constructor(
    servers: readonly { readonly server: UpstreamServer; readonly pool: ConnectionPool }[],
    options: CheckOptions,
  ) {
    this.#checks = servers.map(({ server, pool }) => new ServerCheck(server, pool, options));
  }

  /** Looks now, then every interval until stopped. */
  start(): void {
    for (const check of this.#checks) check.start();
  }

  stop(): void {
    for (const check of this.#checks) check.stop();
  }
}

class ServerCheck {
  readonly #server: UpstreamServer;
  readonly #pool: ConnectionPool;
  readonly #options: CheckOptions;
  readonly #stop = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(server: UpstreamServer, pool: ConnectionPool, options: CheckOptions) {
    this.#server = server;
    this.#pool = pool;
    this.#options = options;
  }

  start(): void {
    if (this.#options.intervalMs > 0) void this.#look();
    else this.#server.unwatched();
  }

  stop(): void {
    this.#stop.abort();
    clearTimeout(this.#timer);
  }

  async #look(): Promise<void> {
    const well = await this.#isWell();
    if (this.#stop.signal.aborted) return;
    this.#server.checked(well, this.#options);
    this.#timer = setTimeout(() => void this.#look(), this.#options.intervalMs);
    this.#timer.unref();
  }

  async #isWell(): Promise<boolean> {
    const { path, timeoutMs } = this.#options;
    const headers = ['Host', this.#server.host];
    const attempt = await this.#pool.send(
      { method: 'GET', target: path, headers, body: null },
      AbortSignal.any([this.#stop.signal, AbortSignal.timeout(timeoutMs)]),
    );
    if ('error' in attempt) return false;
    return await readWhole(attempt.answer).then(
      ({ status }) => status >= 200 && status < 300,
      () => false,
    );
  }
}
