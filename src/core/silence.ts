/** A client that sends nothing for this share of `flushAfterMs` has fallen silent. */
const silentShare = 0.05;

/** Looked for no more often. */
const leastSilenceMs = 20;

/**
 * For how long a client that is read from sends nothing before what there is of a frame goes on: it fills none, and what it
 * leaves would only take up memory.
 * @param flushAfterMs for which bytes may wait for a frame to be filled.
 */
export const silenceMs = (flushAfterMs: number): number =>
  Math.max(leastSilenceMs, flushAfterMs * silentShare);
