import { z } from 'zod';

/** One figure for each round, in the order of the rounds. */
const rounds = z.array(z.number()).min(1);

const pointSchema = z.object({
  /** Uploads that wait meanwhile, each on a connection of its own. */
  waiting: z.number().positive(),
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

const machineSchema = z.looseObject({
  processor: z.string(),
  processors: z.number(),
  kernel: z.string(),
  node: z.string(),
  loadBefore: z.number(),
});

/** A run of `nginx-compare --capacity`, as its JSON has it. */
export const capacityRunSchema = z.object({
  command: z.string(),
  begunAt: z.string(),
  commit: z.string(),
  /** Of Sluice, with its lane. */
  version: z.string(),
  machine: machineSchema,
  points: z.array(pointSchema).min(1),
});

/** As much of a run of `nginx-compare` as the cost of Sluice alone needs. */
export const ratioRunSchema = z.object({
  command: z.string(),
  begunAt: z.string(),
  commit: z.string(),
  machine: machineSchema,
  comparisons: z.array(
    z.object({
      workload: z.string(),
      title: z.string(),
      rows: z.array(
        z.object({
          contender: z.string(),
          version: z.string(),
          failure: z.string().nullable(),
          figures: z.record(z.string(), z.array(z.number().nullable())),
        }),
      ),
    }),
  ),
});

export type CapacityRun = z.infer<typeof capacityRunSchema>;
export type RatioRun = z.infer<typeof ratioRunSchema>;

/** What a gateway costs at one number of waiting uploads. */
export type CapacityPoint = CapacityRun['points'][number];
