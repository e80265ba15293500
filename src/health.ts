import type { Config } from './config/config.ts';
import type { Passthrough } from './http/passthrough.ts';
import type { Log } from './log.ts';

/** Asks the upstream from time to time whether it is well. Judges readiness only: requests are sent on all the same. */
export class Health {
  readonly #passthrough: Passthrough;
  readonly #options: Config['upstream']['health'];
  readonly #host: string;
  readonly #log: Log;
  #healthy: boolean;
  #streak = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  /** @param healthy what is known before the first look. */
  constructor(passthrough: Passthrough, config: Config, log: Log, healthy = false) {
    this.#passthrough = passthrough;
    this.#options = config.upstream.health;
    this.#host = config.upstream.servers[0]?.host ?? '';
    this.#log = log;
    // unwatched counts as healthy: nobody said otherwise
    this.#healthy = healthy || this.#options.intervalMs === 0;
  }

  get healthy(): boolean {
    return this.#healthy;
  }

  /** Looks now, then every interval until stopped. If the first look finds it well, that is enough. */
  start(): void {
    if (this.#options.intervalMs > 0) void this.#look(1);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #look(healthyAfter: number): Promise<void> {
    const { path, timeoutMs, intervalMs, unhealthyAfter } = this.#options;
    const well = await this.#passthrough.fetch('GET', path, ['Host', this.#host], timeoutMs).then(
      ({ status }) => status >= 200 && status < 300,
      () => false,
    );
    if (this.#stopped) return;
    this.#streak = well === this.#healthy ? 0 : this.#streak + 1;
    if (this.#streak >= (well ? healthyAfter : unhealthyAfter)) {
      this.#healthy = well;
      this.#streak = 0;
      this.#log[well ? 'info' : 'warn'](
        { upstream: this.#host },
        well ? 'upstream healthy' : 'upstream unhealthy',
      );
    }
    this.#timer = setTimeout(() => void this.#look(this.#options.healthyAfter), intervalMs);
    this.#timer.unref();
  }
}
