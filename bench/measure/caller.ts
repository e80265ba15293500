/** Who asks, in every workload: a gateway counts for them. */
export const callerHeaders = { 'X-User-Id': 'ann', 'X-Project-Id': 'blue' } as const;

/** The same as lines of a head. */
export const callerFields: readonly string[] = Object.entries(callerHeaders).map(
  ([name, value]) => `${name}: ${value}`,
);
