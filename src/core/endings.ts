/**
 * How an upload ended, and whose doing it was. This is the one list: the same word stands in the
 * log, in the label of `sluice_uploads_total`, in `GatewayError.ending` and in the names of tests.
 */
export const endings = [
  'stored',
  'refused',
  'quota-exceeded',
  'too-large',
  'client-gone',
  'client-stalled',
  'client-too-slow',
  'image-deleted',
  'upstream-lost',
  'upstream-stalled',
  'cancelled',
  'shutting-down',
  'unknown',
] as const;

export type Ending = (typeof endings)[number];

/**
 * What the ledger does with the bytes of an upload that ended:
 * `stored` keeps them until a usage reading begun later includes them, `released` gives them back,
 * `unknown` holds them until the image's own status says which of the two it was.
 */
export type Outcome = 'stored' | 'released' | 'unknown';
