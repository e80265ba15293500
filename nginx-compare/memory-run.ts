import { callerFields } from '../bench/measure/caller.ts';
import type { Contender } from '../bench/measure/contender.ts';
import { LoadGenerator } from '../bench/measure/load.ts';
import { Origin } from '../bench/measure/origin.ts';
import { ProcessUsage } from '../bench/measure/process-usage.ts';
import { KiB, MiB } from '../src/core/units.ts';

export interface MemorySample {
  /** Of bodies, until then. */
  readonly bytes: number;
  readonly residentBytes: number;
}

const bodyBytes = 512 * MiB;
const connections = 4;
const sampleMs = 250;

/** Of three bodies by length one comes in chunks and one goes down. */
const flows = [
  { kind: 'upload', frameBytes: 0 },
  { kind: 'upload', frameBytes: 0 },
  { kind: 'upload', frameBytes: 64 * KiB },
  { kind: 'upload', frameBytes: 0 },
  { kind: 'download', frameBytes: 0 },
] as const;

/** Lets so many bytes flow through one process, and looks at its memory all the time. */
export async function memoryRun(
  contender: Contender,
  wantedBytes: number,
  say: (line: string) => void,
): Promise<MemorySample[]> {
  const samples: MemorySample[] = [];
  const origin = await Origin.start({ downloadBytes: bodyBytes });
  const generator = new LoadGenerator();
  const running = await contender.start({ originPort: origin.port });
  const usage = new ProcessUsage(running.pids);
  let bytes = 0;
  const sample = (): void => void samples.push({ bytes, residentBytes: usage.residentBytes() });
  const sampling = setInterval(sample, sampleMs);
  try {
    for (let turn = 0; bytes < wantedBytes; turn += 1) {
      const { kind, frameBytes } = flows[turn % flows.length] ?? flows[0];
      const load = {
        port: running.port,
        kind,
        frameBytes,
        heldBytes: 0,
        connections,
        exchanges: 2 * connections,
        bodyBytes,
      };
      const { answered, failures } = await generator.run({
        ...load,
        keepAlive: true,
        fields: [...callerFields],
      });
      if (answered !== load.exchanges) throw new Error(JSON.stringify(failures));
      bytes += answered * bodyBytes;
      sample();
      say(`${Math.round(bytes / 1e9)} GB, ${Math.round(usage.residentBytes() / MiB)} MiB resident`);
    }
  } finally {
    clearInterval(sampling);
    await generator.stop();
    await running.stop();
    await origin.stop();
  }
  return samples;
}

/** Of the second half, what may be more than in the first. */
const tolerance = 1.1;

/**
 * What a process needs it needs soon: a tenth of the bytes is for that. After it, the most that was resident in the second half is no
 * more than a tenth above the most in the first.
 */
export function memoryVerdict(samples: readonly MemorySample[]): {
  readonly firstBytes: number;
  readonly secondBytes: number;
  readonly flat: boolean;
} {
  const allBytes = samples.at(-1)?.bytes ?? 0;
  const most = (from: number, to: number): number =>
    Math.max(
      0,
      ...samples
        .filter(({ bytes }) => bytes >= from * allBytes && bytes < to * allBytes)
        .map(({ residentBytes }) => residentBytes),
    );
  const firstBytes = most(0.1, 0.5);
  const secondBytes = most(0.5, 1.1);
  return { firstBytes, secondBytes, flat: firstBytes > 0 && secondBytes <= firstBytes * tolerance };
}
