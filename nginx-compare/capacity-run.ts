import { z } from 'zod';

/** One figure for each round, in the order of the rounds. */
const rounds = z.array(z.number()).min(1);

const pointSchema = z.object({
  /** Uploads that wait meanwhile, each on a connection of its own. */
  waiting: z.number(),
  /** Resident memory of the gateway before they came, and while they wait. */
  beforeBytes: rounds,
  residentBytes: rounds,
  /** CPU of the gateway while nothing but they are there, in seconds for a second. */
  waitingCores: rounds,
  /** Of a flow of uploads beside them, with theirs: seconds of CPU for 10^9 bytes, and 10^9 bytes a second. */
  cpuSecondsPerGB: rounds,
  gigabytesPerSecond: rounds,
  /** Of uploads of 0 bytes beside them, with theirs. */
  cpuSecondsPerUpload: rounds,
});

/** What a gateway costs at one number of waiting uploads. */
export type CapacityPoint = z.infer<typeof pointSchema>;

export const capacityPointsSchema = z.array(pointSchema).min(1);
