import { GivenUp } from './give-up.ts';
import { answerLate } from './upstream-error.ts';

/**
 * The time that a question of the gateway's own may take, for which it is given up, as it is for a signal that is given
 * beside. No `AbortSignal.timeout`: that one, its timer and all that hangs on it stay until the time is over.
 */
export class AnswerDeadline extends GivenUp {
  readonly #given: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout | undefined;

  /** @param timeoutMs 0 = for ever. */
  constructor(timeoutMs: number, given: AbortSignal | undefined) {
    super();
    this.#given = given;
    if (timeoutMs > 0) this.#timer = setTimeout(() => this.giveUp(answerLate()), timeoutMs);
    if (given?.aborted) this.#onGiven();
    else given?.addEventListener('abort', this.#onGiven);
  }

  /** The question is answered. */
  end(): void {
    clearTimeout(this.#timer);
    this.#given?.removeEventListener('abort', this.#onGiven);
  }

  readonly #onGiven = (): void => this.giveUp(this.#given?.reason);
}
