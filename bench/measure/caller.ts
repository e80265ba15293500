/** For a gateway that asks Keystone: a token of the same user and project. */
export const callerToken = 'gAAAAAsluice-bench-token-of-ann-in-blue';

/** Who asks, in every workload: a gateway counts for them. */
export const callerHeaders = {
  'X-User-Id': 'ann',
  'X-Project-Id': 'blue',
  'X-Auth-Token': callerToken,
} as const;

/** The same as lines of a head. */
export const callerFields: readonly string[] = Object.entries(callerHeaders).map(
  ([name, value]) => `${name}: ${value}`,
);
