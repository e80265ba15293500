import { performance } from 'node:perf_hooks';
import { type CheckRules, type EjectionRules, ServerHealth } from './core/server-health.ts';

/** What changed in what is believed of a server. */
export type ServerChange = 'healthy' | 'unhealthy' | 'ejected' | 'returned';

/** What a server is chosen for: each is spread by how many of its kind are under way. */
export type Load = 'uploads' | 'requests';

/** One server of the API: what it has under way and how well it is. Outlives the configurations that name it. */
export class UpstreamServer {
  /** `http://HOST:PORT`, which is also its name among servers. */
  readonly origin: URL;
  /** What of this process goes to it now. */
  readonly underWay: Record<Load, number> = { uploads: 0, requests: 0 };
  readonly #health: ServerHealth;
  readonly #changed: (change: ServerChange) => void;

  /** @param watched false where nobody checks it: it counts as well then. */
  constructor(origin: URL, watched: boolean, changed: (change: ServerChange) => void) {
    this.origin = origin;
    this.#health = new ServerHealth(!watched);
    this.#changed = changed;
  }

  /** `HOST:PORT`, without a port that goes without saying: as logs, metrics and rows name it. */
  get host(): string {
    return this.origin.host;
  }

  get healthy(): boolean {
    return this.#health.isHealthy(performance.now());
  }

  unwatched(): void {
    this.#health.unwatched();
  }

  checked(well: boolean, rules: CheckRules): void {
    const change = this.#health.checked(well, rules);
    if (change !== null) this.#changed(change);
  }

  /**
   * Something goes to it from now on, until the use ends.
   * @param spare whether another server is well: asked where this one may be out for the doing of a client.
   */
  use(load: Load, rules: EjectionRules, spare: () => boolean): ServerUse {
    this.underWay[load] += 1;
    const failed = (): void => {
      if (this.#health.failed(performance.now(), rules)) this.#changed('ejected');
    };
    return new ServerUse(this, {
      failed,
      lost: () => {
        if (spare()) failed();
      },
      answered: () => {
        if (this.#health.answered()) this.#changed('returned');
      },
      end: () => {
        this.underWay[load] -= 1;
      },
    });
  }
}

interface UseEvents {
  failed(): void;
  lost(): void;
  answered(): void;
  end(): void;
}

/** One request on its way to a server. Whoever began it ends it. */
export class ServerUse {
  readonly server: UpstreamServer;
  readonly #events: UseEvents;
  #ended = false;

  constructor(server: UpstreamServer, events: UseEvents) {
    this.server = server;
    this.#events = events;
  }

  /** There was no connection. */
  failed(): void {
    this.#events.failed();
  }

  /**
   * A connection broke before an answer, and the client did not end it. What it sent may all the same be why (uWSGI hangs up
   * at a head that is too long), so by that alone the last server that is well is never taken out.
   */
  lost(): void {
    this.#events.lost();
  }

  /** The head of an answer came, with whatever status. */
  answered(): void {
    this.#events.answered();
  }

  /** Calling it again is harmless. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#events.end();
  }
}
