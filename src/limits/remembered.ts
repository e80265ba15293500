import { LRUCache } from 'lru-cache';
import { sharedOrOwn } from '../usage/shared-answer.ts';
import type { Caller } from '../usage/usage.ts';
import type { LimitsSource, ProjectLimits } from './limits.ts';

/** Projects whose limits are remembered. */
const mostProjects = 10_000;

/** Asks a source about a project no more often than once in `ttlMs`, whoever uploads. */
export class RememberedLimits implements LimitsSource {
  readonly #source: LimitsSource;
  readonly #ttlMs: number;
  readonly #nowMs: () => number;
  readonly #known = new LRUCache<string, { readonly limits: ProjectLimits; readonly untilMs: number }>({
    max: mostProjects,
  });
  readonly #pending = new Map<string, Promise<ProjectLimits>>();

  /**
   * @param ttlMs 0 = asked every time.
   * @param nowMs a clock that never goes back, in milliseconds.
   */
  constructor(source: LimitsSource, ttlMs: number, nowMs: () => number) {
    this.#source = source;
    this.#ttlMs = ttlMs;
    this.#nowMs = nowMs;
  }

  async limitsOf(project: string, caller: Caller): Promise<ProjectLimits> {
    const known = this.#known.get(project);
    if (known !== undefined && this.#nowMs() < known.untilMs) return known.limits;
    return await sharedOrOwn(this.#pending.get(project), () => {
      const asked = this.#ask(project, caller);
      this.#pending.set(project, asked);
      const done = (): void => {
        if (this.#pending.get(project) === asked) this.#pending.delete(project);
      };
      asked.then(done, done);
      return asked;
    });
  }

  async #ask(project: string, caller: Caller): Promise<ProjectLimits> {
    const limits = await this.#source.limitsOf(project, caller);
    this.#known.set(project, { limits, untilMs: this.#nowMs() + this.#ttlMs });
    return limits;
  }
}
