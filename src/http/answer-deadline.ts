import { GatewayError } from '../core/errors.ts';
import type { GiveUp } from './client-departure.ts';

/**
 * The time that a question of the gateway's own may take, for which it is given up, as it is for a signal that is given
 * beside. No `AbortSignal.timeout`: that one, its timer and all that hangs on it stay until the time is over.
 */
export class AnswerDeadline implements GiveUp {
  aborted = false;
  reason: unknown = null;
  readonly #given: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #listeners = new Set<() => void>();

  /** @param timeoutMs 0 = for ever. */
  constructor(timeoutMs: number, given: AbortSignal | undefined) {
    this.#given = given;
    if (timeoutMs > 0) {
      this.#timer = setTimeout(
        () => this.#abort(new GatewayError('upstream-timeout', 'No answer in time.')),
        timeoutMs,
      );
    }
    if (given?.aborted) this.#onGiven();
    else given?.addEventListener('abort', this.#onGiven);
  }

  addEventListener(_: 'abort', listener: () => void): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_: 'abort', listener: () => void): void {
    this.#listeners.delete(listener);
  }

  /** The question is answered. */
  end(): void {
    clearTimeout(this.#timer);
    this.#given?.removeEventListener('abort', this.#onGiven);
  }

  readonly #onGiven = (): void => this.#abort(this.#given?.reason);

  #abort(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    for (const listener of this.#listeners) listener();
  }
}
