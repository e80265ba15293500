/** When what is asked of a server from time to time changes what is believed of it. */
export interface CheckRules {
  /** Failures in a row after which it is unhealthy; at least 1. */
  readonly unhealthyAfter: number;
  /** Successes in a row after which it is healthy again; at least 1. The first check of all needs no second. */
  readonly healthyAfter: number;
}

/** When requests that came to nothing take a server out of the choice. */
export interface EjectionRules {
  /** Failures in a row, each within `ejectMs` of the one before; 0 = never. */
  readonly ejectAfter: number;
  /** How long it stays out. */
  readonly ejectMs: number;
}

/**
 * What is believed of one server: by checks, which are asked for, and by what requests meet, which is free. Both must be in
 * its favour. After an ejection it is on probation: the next failure ejects it again, any answer ends it.
 * Times are milliseconds of any clock that never goes back.
 */
export class ServerHealth {
  #well: boolean;
  #checked = false;
  #streak = 0;
  #failures = 0;
  #failedMs = Number.NEGATIVE_INFINITY;
  /** Null while nothing speaks against it; in the past while it is on probation. */
  #ejectedUntilMs: number | null = null;

  /** @param well what is believed before the first check. */
  constructor(well: boolean) {
    this.#well = well;
  }

  isHealthy(nowMs: number): boolean {
    return this.#well && (this.#ejectedUntilMs === null || nowMs >= this.#ejectedUntilMs);
  }

  /** Nobody checks it: so nobody says that it is not well. */
  unwatched(): void {
    this.#well = true;
  }

  /**
   * A check has ended.
   * @returns what it changed; null = nothing.
   */
  checked(
    well: boolean,
    { unhealthyAfter, healthyAfter }: CheckRules,
  ): 'healthy' | 'unhealthy' | 'returned' | null {
    const needed = well ? (this.#checked ? healthyAfter : 1) : unhealthyAfter;
    this.#checked = true;
    const returned = well && this.answered();
    this.#streak = well === this.#well ? 0 : this.#streak + 1;
    if (this.#streak < needed) return returned ? 'returned' : null;
    this.#well = well;
    this.#streak = 0;
    return well ? 'healthy' : 'unhealthy';
  }

  /**
   * A request came to nothing, and it was the server's doing.
   * @returns true if that ejects it.
   */
  failed(nowMs: number, { ejectAfter, ejectMs }: EjectionRules): boolean {
    // while it is out only those fail that had to be tried there: they tell nothing new
    if (ejectAfter === 0 || (this.#ejectedUntilMs !== null && nowMs < this.#ejectedUntilMs)) return false;
    this.#failures = nowMs - this.#failedMs <= ejectMs ? this.#failures + 1 : 1;
    this.#failedMs = nowMs;
    if (this.#failures < ejectAfter && this.#ejectedUntilMs === null) return false;
    this.#failures = 0;
    this.#ejectedUntilMs = nowMs + ejectMs;
    return true;
  }

  /**
   * It has answered a request, with whatever status.
   * @returns true if that ends an ejection, or the probation after one.
   */
  answered(): boolean {
    const was = this.#ejectedUntilMs !== null;
    this.#ejectedUntilMs = null;
    this.#failures = 0;
    return was;
  }
}
