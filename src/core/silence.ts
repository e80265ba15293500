/** A client that sends nothing for this share of the time to fill a frame has fallen silent; looked for no more often than this. */
const silentShare = 0.05;
const leastSilenceMs = 20;

/**
 * How long a client may send nothing before what it has left is sent on, in ms: it fills no frame.
 * @param flushAfterMs how long a frame may wait to be filled by a client that goes on.
 */
export const silenceMs = (flushAfterMs: number): number =>
  Math.max(leastSilenceMs, flushAfterMs * silentShare);
