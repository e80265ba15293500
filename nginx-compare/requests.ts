import { proveBytes } from '../bench/measure/byte-proof.ts';
import type { RunningContender } from '../bench/measure/contender.ts';
import { callerFields } from '../bench/measure/image-record.ts';
import { LoadGenerator } from '../bench/measure/load.ts';
import { Origin } from '../bench/measure/origin.ts';
import { ProcessUsage } from '../bench/measure/process-usage.ts';
import type { FigureKind, Figures, OpenWorkload, Workload } from '../bench/measure/workload.ts';
import { MiB } from '../src/core/units.ts';

export interface RequestsOptions {
  readonly name: string;
  readonly title: string;
  readonly kind: 'upload' | 'download';
  /** So little that what a request costs by itself is all that is seen. */
  readonly bodyBytes: number;
  readonly connections: number;
  /** A round takes about so long, by what the warm-up says. */
  readonly roundSeconds: number;
}

const figures: readonly FigureKind[] = [
  { key: 'cpu', title: 'CPU', unit: 'µs a request', better: 'less', plotted: true },
  { key: 'speed', title: 'speed', unit: 'requests/s', better: 'more', plotted: true },
  { key: 'resident', title: 'resident', unit: 'MiB', better: 'less', plotted: false },
];

const warmUpRequests = 1_000;

/** Requests with next to no body, over connections that are kept. */
export function requests(options: RequestsOptions): Workload {
  return {
    name: options.name,
    title: options.title,
    figures,
    prove: (contender) => proveBytes(contender, { kind: options.kind, frameBytes: 0 }),
    open: () => openRequests(options),
  };
}

async function openRequests(options: RequestsOptions): Promise<OpenWorkload> {
  const { kind, connections, bodyBytes, roundSeconds } = options;
  const origin = await Origin.start({ downloadBytes: kind === 'download' ? bodyBytes : 0 });
  const generator = new LoadGenerator();
  const once = async (
    { port }: RunningContender,
    usage: ProcessUsage,
    exchanges: number,
  ): Promise<Figures> => {
    const began = usage.cpuSeconds();
    const load = { port, kind, connections, exchanges, bodyBytes };
    const { answered, failures, wallMs } = await generator.run({
      ...load,
      frameBytes: 0,
      keepAlive: true,
      fields: [...callerFields],
    });
    if (answered !== exchanges) throw new Error(`of ${exchanges} requests: ${JSON.stringify(failures)}`);
    return {
      cpu: ((usage.cpuSeconds() - began) / exchanges) * 1e6,
      speed: exchanges / (wallMs / 1000),
      resident: usage.residentBytes() / MiB,
    };
  };
  return {
    originPort: origin.port,
    rounds(running) {
      const usage = new ProcessUsage(running.pids);
      let exchanges = 0;
      return async () => {
        const warm = exchanges > 0;
        const measured = await once(running, usage, warm ? exchanges : warmUpRequests);
        if (!warm) exchanges = Math.max(warmUpRequests, Math.round((measured.speed ?? 0) * roundSeconds));
        return measured;
      };
    },
    async close() {
      await generator.stop();
      await origin.stop();
    },
  };
}
