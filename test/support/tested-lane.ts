import { z } from 'zod';

/**
 * The lane that gateways in tests use: `npm test` runs what concerns gateways once for each. In the second run everything that
 * can be spliced is, however small.
 */
export const testedLane = z.enum(['stream', 'splice']).parse(process.env.SLUICE_TEST_LANE ?? 'stream');

/** Goes under `upload` of a configuration; `auto`, so that gateways with TLS are tested as well. */
export const lane =
  testedLane === 'splice' ? { lane: 'auto' as const, splice_from: 0 } : { lane: 'stream' as const };
