import { setTimeout as sleep } from 'node:timers/promises';

/** How long a condition may take to come true, and how often it is looked at. */
const patienceMs = 5_000;
const intervalMs = 4;

/**
 * Waits for a condition instead of for a time: calls `check` until it neither throws nor returns
 * `false` or `null`, and resolves with what it returned. `undefined` is a success, so that the check may be
 * a bare assertion; a look-up that may find nothing says `?? null`.
 * Give `assert.ok` a message: without one Node 20 looks for the failed expression in the source, and in a long file
 * that tsx has compiled it looks for ever.
 * After 5 s it rejects with the last reason, headed by `message`.
 */
export async function eventually<T>(
  check: () => T | false | null | Promise<T | false | null>,
  message = 'the condition did not come true',
): Promise<T> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    let reason: unknown;
    try {
      const result = await check();
      if (result !== false && result !== null) return result;
      reason = `the check returned ${result}`;
    } catch (error) {
      reason = error;
    }
    if (performance.now() > deadline) {
      const text = reason instanceof Error ? reason.message : String(reason);
      throw new Error(`${message} within ${patienceMs} ms: ${text}`, { cause: reason });
    }
    await sleep(intervalMs);
  }
}
