import { GatewayError } from '../core/errors.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { sharedOrOwn } from './shared-answer.ts';
import type { Caller, UsageSource } from './usage.ts';

export type ReadingOutcome = 'read' | 'failed';

/**
 * Keeps the ledger's picture of stored bytes fresh, and asks the API no more often than that needs: many uploads of
 * one project that want a reading at once share one.
 */
export class Readings {
  readonly #source: UsageSource;
  readonly #ledger: Ledger;
  readonly #observe: (outcome: ReadingOutcome) => void;
  /** By account: the reading under way, and the one that begins when it ends. */
  readonly #running = new Map<string, Promise<void>>();
  readonly #waiting = new Map<string, Promise<void>>();

  constructor(source: UsageSource, ledger: Ledger, observe: (outcome: ReadingOutcome) => void) {
    this.#source = source;
    this.#ledger = ledger;
    this.#observe = observe;
  }

  /**
   * Makes sure that the ledger has a reading of the account that is at most `ttlMs` old.
   * @throws GatewayError as `UsageSource.storedBytes` does.
   */
  async ensure(account: string, project: string, caller: Caller, ttlMs: number): Promise<void> {
    // a reading that another one overtook is not taken in, and then the other one has to be there
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const ageMs = await this.#ledger.readingAgeMs(account);
      if (ageMs !== null && (attempt > 0 || ageMs < ttlMs)) return;
      await sharedOrOwn(this.#running.get(account), () => this.#read(account, project, caller, 'upper'));
    }
    throw new GatewayError('usage-unavailable', 'No reading of the stored bytes was taken in.');
  }

  /** An exact reading that begins after this call: what is said next cannot be older news. */
  async refresh(account: string, project: string, caller: Caller): Promise<void> {
    const running = this.#running.get(account);
    if (running === undefined) return await this.#read(account, project, caller, 'exact');
    let waiting = this.#waiting.get(account);
    if (waiting === undefined) {
      waiting = running
        .catch(() => {})
        .then(() => {
          this.#waiting.delete(account);
          return this.#read(account, project, caller, 'exact');
        });
      this.#waiting.set(account, waiting);
    }
    await sharedOrOwn(waiting, () => this.#read(account, project, caller, 'exact'));
  }

  #read(account: string, project: string, caller: Caller, precision: 'exact' | 'upper'): Promise<void> {
    const reading = (async () => {
      try {
        const { end } = await this.#ledger.beginReading(account);
        await end(await this.#source.storedBytes(project, caller, precision));
        this.#observe('read');
      } catch (error) {
        this.#observe('failed');
        throw error instanceof GatewayError &&
          error.source === 'upstream' &&
          error.code !== 'usage-unavailable'
          ? new GatewayError('usage-unavailable', `${error.message} So nobody says what is stored.`, {
              cause: error,
            })
          : error;
      }
    })();
    this.#running.set(account, reading);
    const done = (): void => {
      if (this.#running.get(account) === reading) this.#running.delete(account);
    };
    reading.then(done, done);
    return reading;
  }
}
