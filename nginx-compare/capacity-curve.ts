import { setTimeout as sleep } from 'node:timers/promises';
import { callerFields } from '../bench/measure/caller.ts';
import type { Contender } from '../bench/measure/contender.ts';
import { type Load, LoadGenerator } from '../bench/measure/load.ts';
import { Origin } from '../bench/measure/origin.ts';
import { ProcessUsage } from '../bench/measure/process-usage.ts';
import { GiB, MiB } from '../src/core/units.ts';
import type { CapacityPoint } from './capacity-run.ts';
import { WaitingUploads } from './waiting-uploads.ts';

export interface CurveOptions {
  readonly waiting: readonly number[];
  readonly rounds: number;
  /** Of the flow, in all, each time. */
  readonly flowBytes: number;
  /** Uploads of 0 bytes, each time. */
  readonly uploads: number;
  /** How long nothing but the waiting uploads is looked at. */
  readonly quietMs: number;
}

const bodyBytes = 512 * MiB;
const flowConnections = 4;
const uploadConnections = 32;

/**
 * What a contender costs while more and more uploads wait. Each point of each round has a process of its own, and the rounds
 * go through all points, so that what else the machine does falls on all of them alike.
 */
export async function capacityCurve(
  contender: Contender,
  options: CurveOptions,
  say: (line: string) => void,
): Promise<CapacityPoint[]> {
  const points = options.waiting.map(emptyPoint);
  const origin = await Origin.start({ downloadBytes: 0 });
  const generator = new LoadGenerator();
  try {
    for (let round = 0; round < options.rounds; round += 1) {
      for (const point of points) {
        say(`round ${round + 1} of ${options.rounds}: ${point.waiting} uploads wait`);
        await measurePoint(contender, point, options, origin, generator);
      }
    }
  } finally {
    await generator.stop();
    await origin.stop();
  }
  return points;
}

const emptyPoint = (waiting: number): CapacityPoint => ({
  waiting,
  beforeBytes: [],
  residentBytes: [],
  waitingCores: [],
  cpuSecondsPerGB: [],
  gigabytesPerSecond: [],
  cpuSecondsPerUpload: [],
});

async function measurePoint(
  contender: Contender,
  point: CapacityPoint,
  options: CurveOptions,
  origin: Origin,
  generator: LoadGenerator,
): Promise<void> {
  const running = await contender.start({ originPort: origin.port });
  const usage = new ProcessUsage(running.pids);
  const waiting = new WaitingUploads(running.port);
  /** @returns seconds of CPU that it took, and how long. */
  const load = async (what: Pick<Load, 'connections' | 'exchanges' | 'bodyBytes'>) => {
    const beganSeconds = usage.cpuSeconds();
    const outcome = await generator.run({
      port: running.port,
      kind: 'upload',
      frameBytes: 0,
      heldBytes: 0,
      keepAlive: true,
      fields: [...callerFields],
      ...what,
    });
    if (outcome.answered !== what.exchanges) throw new Error(JSON.stringify(outcome.failures));
    return { cpuSeconds: usage.cpuSeconds() - beganSeconds, seconds: outcome.wallMs / 1000 };
  };
  const flow = { connections: flowConnections, bodyBytes };
  const small = { connections: uploadConnections, exchanges: options.uploads, bodyBytes: 0 };
  try {
    // what it allocates once is not what an upload costs
    await load({ ...flow, exchanges: flowConnections });
    await load(small);
    await running.collectGarbage?.();
    point.beforeBytes.push(usage.residentBytes());
    await waiting.hold(point.waiting);
    const beganSeconds = usage.cpuSeconds();
    const beganMs = performance.now();
    await sleep(options.quietMs);
    point.waitingCores.push((usage.cpuSeconds() - beganSeconds) / ((performance.now() - beganMs) / 1000));
    await running.collectGarbage?.();
    point.residentBytes.push(usage.residentBytes());
    const exchanges = Math.max(flowConnections, Math.round(options.flowBytes / bodyBytes));
    const flowed = await load({ ...flow, exchanges });
    const gigabytes = (exchanges * bodyBytes) / 1e9;
    point.cpuSecondsPerGB.push(flowed.cpuSeconds / gigabytes);
    point.gigabytesPerSecond.push(gigabytes / flowed.seconds);
    point.cpuSecondsPerUpload.push((await load(small)).cpuSeconds / options.uploads);
    // throws if one of them has ended meanwhile
    await waiting.hold(point.waiting);
  } finally {
    await waiting.stop();
    await running.stop();
  }
}

/** Quiet for as long as it takes to look up every upload's image once (`upload.watch_interval`). */
export const wholeCurve: CurveOptions = {
  waiting: [1, 10, 100, 1_000, 5_000, 9_000],
  rounds: 3,
  flowBytes: 4 * GiB,
  uploads: 2_000,
  quietMs: 15_000,
};

export const quickCurve: CurveOptions = {
  waiting: [1, 100, 1_000],
  rounds: 1,
  flowBytes: 2 * GiB,
  uploads: 500,
  quietMs: 3_000,
};
