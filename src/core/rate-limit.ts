import type { Action } from './profile.ts';

/** So many requests of one sort by one account or address in each interval. */
export interface RateRule {
  readonly action: Action | 'any';
  readonly per: 'project' | 'user' | 'address';
  readonly requests: number;
  readonly intervalMs: number;
}

/** How a rule stands for whom it counts, after a request was counted. */
export interface RateState {
  readonly name: string;
  readonly rule: RateRule;
  /** Requests that are left in the interval. */
  readonly remaining: number;
  /** Until the interval ends and all requests are back. */
  readonly resetMs: number;
}

/** What clients know a rule by: its action, or more where the action has several rules. */
export function ruleName(rule: RateRule, rules: readonly RateRule[]): string {
  const { action, per, intervalMs } = rule;
  if (rules.filter((other) => other.action === action).length === 1) return action;
  return `${action}-${per}-${intervalMs / 1000}s`;
}

/** True where both count the same requests alike: then what is counted may go on under the other. */
export const isSameRule = (one: RateRule, other: RateRule): boolean =>
  one.action === other.action &&
  one.per === other.per &&
  one.requests === other.requests &&
  one.intervalMs === other.intervalMs;

/**
 * The fields `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10) as a flat raw list; empty
 * where there is nothing to say. Times are whole seconds, rounded up.
 */
export function rateFields(states: readonly RateState[]): string[] {
  if (states.length === 0) return [];
  const policies = states.map(
    ({ name, rule }) => `"${name}";q=${rule.requests};w=${wholeSeconds(rule.intervalMs)}`,
  );
  const left = states.map(
    ({ name, remaining, resetMs }) => `"${name}";r=${remaining};t=${wholeSeconds(resetMs)}`,
  );
  return ['RateLimit-Policy', policies.join(', '), 'RateLimit', left.join(', ')];
}

/** Rounded up, so that who waits so long is let in; at least 1. */
export const wholeSeconds = (ms: number): number => Math.max(1, Math.ceil(ms / 1000));
