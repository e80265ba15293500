import { z } from 'zod';
import type { Operator } from './image-lookup.ts';
import type { Log } from './log.ts';
import type { Registry } from './registry.ts';
import { type Ask, imageList } from './usage/image-list.ts';
import type { Caller } from './usage/usage.ts';

/** An image that was left in `saving`, for ever: only a DELETE helps (glance.md §2.6). */
export interface Orphan {
  readonly image: string;
  readonly owner: string | null;
  /** When the API last changed it, as it says. */
  readonly since: string;
}

/** What the last look found. */
export interface OrphanReport {
  readonly orphans: readonly Orphan[];
  /** Null as long as there was no look that came to its end. */
  readonly scannedAt: Date | null;
  /** Why there is no look, or none lately; null when all is well. */
  readonly problem: string | null;
}

const imageSchema = z.object({
  id: z.string(),
  status: z.string(),
  owner: z.string().nullish(),
  updated_at: z.iso.datetime({ offset: true }),
});

export interface OrphanOptions {
  /** 0 = never. */
  readonly intervalMs: number;
  /** Images that changed more recently are left out: another gateway, or nobody's, may be uploading them. */
  readonly leastAgeMs: number;
}

/**
 * Looks from time to time for images in `saving` that no upload of this gateway is behind. It reports; deleting is an
 * operator's decision.
 */
export class Orphans {
  readonly #ask: Ask;
  readonly #operator: Operator | null;
  readonly #registry: Registry;
  readonly #options: OrphanOptions;
  readonly #log: Log;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #report: OrphanReport;

  /** @param operator null where the gateway has no account: then nothing is looked for. */
  constructor(ask: Ask, operator: Operator | null, registry: Registry, options: OrphanOptions, log: Log) {
    this.#ask = ask;
    this.#operator = operator;
    this.#registry = registry;
    this.#options = options;
    this.#log = log;
    const problem =
      operator === null
        ? 'identity.keystone.service_account is not set'
        : options.intervalMs === 0
          ? 'orphans.interval is 0'
          : null;
    this.#report = { orphans: [], scannedAt: null, problem };
  }

  get report(): OrphanReport {
    return this.#report;
  }

  start(): void {
    if (this.#report.problem === null) void this.#lookOn();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #lookOn(): Promise<void> {
    await this.#look();
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#lookOn(), this.#options.intervalMs);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    if (this.#operator === null) return;
    const before = this.#report;
    try {
      if (!(await this.#operator.seesEverything()))
        throw new Error('the service account is no administrator');
      // an upload that ends while the list is read is in the first of the two, one that begins is in the second
      const underWay = new Set(this.#imagesUnderWay());
      const saving = await this.#saving(await this.#operator.caller());
      for (const image of this.#imagesUnderWay()) underWay.add(image);
      const youngestMs = Date.now() - this.#options.leastAgeMs;
      const orphans = saving.filter(
        ({ image, since }) => !underWay.has(image) && Date.parse(since) <= youngestMs,
      );
      this.#report = { orphans, scannedAt: new Date(), problem: null };
      for (const orphan of orphans) {
        if (before.orphans.some(({ image }) => image === orphan.image)) continue;
        this.#log.warn(orphan, 'image left in saving: no upload is behind it, and only a DELETE helps');
      }
    } catch (error) {
      // the look that comes next has other connections, and nobody reads this report any more
      if (this.#stopped) return;
      const problem = error instanceof Error ? error.message : String(error);
      if (problem !== before.problem) this.#log.warn({ problem }, 'orphans cannot be looked for');
      this.#report = { ...before, problem };
    }
  }

  *#imagesUnderWay(): Generator<string> {
    for (const { start } of this.#registry.list()) yield start.image;
  }

  async #saving(caller: Caller): Promise<Orphan[]> {
    const found: Orphan[] = [];
    for (const hidden of ['false', 'true']) {
      const filters = { status: 'saving', visibility: 'all', os_hidden: hidden };
      for await (const image of imageList(this.#ask, caller, filters, imageSchema)) {
        const { id, status, owner, updated_at: since } = image;
        // an older API may not know the filter
        if (status === 'saving') found.push({ image: id, owner: owner ?? null, since });
      }
    }
    return found;
  }
}
