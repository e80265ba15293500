import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { addressBlock } from './core/address-block.ts';
import { GatewayError } from './core/errors.ts';
import { countHeaders } from './core/headers.ts';
import type { Action } from './core/profile.ts';
import {
  isSameRule,
  type RateRule,
  type RateState,
  rateFields,
  ruleName,
  wholeSeconds,
} from './core/rate-limit.ts';
import type { Client } from './http/client.ts';
import type { Identified } from './identity/identity.ts';

/**
 * The requests of one rule, by account or address. The library keeps one record and one timer for each key that
 * came within the interval, and drops both when it ends; a request beyond the limit changes a record but never
 * makes or prolongs one. So memory is bounded by the rate at which new keys arrive times the interval. The timers
 * do not keep the process alive.
 */
interface Counter {
  readonly rule: RateRule;
  readonly name: string;
  readonly limiter: RateLimiterMemory;
}

/**
 * Who may send how many requests. Counted in fixed intervals that begin with the first request; a refused request
 * counts for the rules before the one that refused it. Preflights of browsers carry no token and are never counted.
 */
export class RateLimits {
  readonly #counters: readonly Counter[];
  readonly #refused: (rule: RateRule) => void;

  /** @param before what is counted already: it goes on under the rules that stay as they were. */
  constructor(
    rules: readonly RateRule[],
    refused: (rule: RateRule) => void,
    before: RateLimits | null = null,
  ) {
    this.#refused = refused;
    const earlier = before === null ? [] : before.#counters;
    this.#counters = rules.map((rule) => ({
      rule,
      name: ruleName(rule, rules),
      limiter:
        earlier.find((counter) => isSameRule(counter.rule, rule))?.limiter ??
        new RateLimiterMemory({ points: rule.requests, duration: rule.intervalMs / 1000 }),
    }));
  }

  /** False where nothing is counted. */
  get any(): boolean {
    return this.#counters.length > 0;
  }

  /** True if this request cannot be counted without knowing whose it is. */
  needOwner(client: Client, action: Action): boolean {
    return (
      !isPreflight(client) &&
      this.#counters.some(({ rule }) => rule.per !== 'address' && covers(rule, action))
    );
  }

  /**
   * Counts a request for the address that it came from, as far as trusted proxies tell.
   * @throws GatewayError `rate-exceeded`
   */
  byAddress(client: Client, action: Action, address: string): Promise<void> {
    const block = addressBlock(address);
    return this.#count(client, action, ({ per }) => (per === 'address' ? block : null));
  }

  /**
   * Counts a request for its user and its project; for nobody if `who` is null, for no project if it has none.
   * @throws GatewayError `rate-exceeded`
   */
  async byOwner(client: Client, action: Action, who: Identified | null): Promise<void> {
    if (who === null) return;
    await this.#count(client, action, ({ per }) => (per === 'address' ? null : who[per]));
  }

  async #count(client: Client, action: Action, keyOf: (rule: RateRule) => string | null): Promise<void> {
    if (isPreflight(client)) return;
    const states: RateState[] = [];
    for (const { rule, name, limiter } of this.#counters) {
      const key = covers(rule, action) ? keyOf(rule) : null;
      if (key === null) continue;
      const { counted, fits } = await consume(limiter, key);
      states.push({ name, rule, remaining: counted.remainingPoints, resetMs: counted.msBeforeNext });
      if (fits) continue;
      this.#refused(rule);
      throw exceeded(rule, counted.msBeforeNext, rateFields(states));
    }
    client.answerFields.push(...rateFields(states));
  }
}

async function consume(
  limiter: RateLimiterMemory,
  key: string,
): Promise<{ readonly counted: RateLimiterRes; readonly fits: boolean }> {
  try {
    return { counted: await limiter.consume(key), fits: true };
  } catch (error) {
    // what the library throws for a key that is over its limit is no error but the same record
    if (error instanceof RateLimiterRes) return { counted: error, fits: false };
    throw error;
  }
}

function exceeded(
  { action, per, requests, intervalMs }: RateRule,
  resetMs: number,
  headers: readonly string[],
) {
  const what = action === 'any' ? 'requests' : `requests of the action ${action}`;
  const detail = `A ${per} may send ${requests} ${what} in ${intervalMs / 1000} s.`;
  return new GatewayError('rate-exceeded', detail, {
    facts: { limit: requests },
    retryAfterSeconds: wholeSeconds(resetMs),
    headers,
  });
}

const covers = (rule: RateRule, action: Action): boolean => rule.action === 'any' || rule.action === action;

/** What a browser sends to ask whether it may send a request (Fetch standard, CORS-preflight request). */
function isPreflight({ request, headers }: Client): boolean {
  return (
    request.method === 'OPTIONS' &&
    countHeaders(headers, 'origin') > 0 &&
    countHeaders(headers, 'access-control-request-method') > 0
  );
}
