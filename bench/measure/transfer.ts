import { MiB } from '../../src/core/units.ts';
import { type BytesToPass, proveBytes } from './byte-proof.ts';
import { callerFields } from './caller.ts';
import type { RunningContender } from './contender.ts';
import { type Load, LoadGenerator } from './load.ts';
import { Origin } from './origin.ts';
import { ProcessUsage } from './process-usage.ts';
import type { FigureKind, Figures, OpenWorkload, Workload } from './workload.ts';

/** How bodies are moved. */
export interface TransferOptions extends BytesToPass {
  readonly name: string;
  readonly title: string;
  readonly bodyBytes: number;
  /** At once. */
  readonly connections: number;
  /** False: each body has a connection of its own. */
  readonly keepAlive: boolean;
  /** A round takes about so long: as many bodies as the warm-up says that the contender moves in that time. */
  readonly roundSeconds: number;
  /** What costs are told for: bytes, or bodies that are so small that they hardly matter. */
  readonly per: 'GB' | 'body';
}

const warmUp = { bytes: 512 * MiB, bodies: 2_000 } as const;
const gigabyte = 1e9;

function figuresOf({ per }: TransferOptions): readonly FigureKind[] {
  const [cost, speed] = per === 'GB' ? ['s/GB', 'GB/s'] : ['µs/upload', 'uploads/s'];
  return [
    { key: 'cpu', title: 'CPU', unit: cost, better: 'less', plotted: true },
    { key: 'speed', title: 'speed', unit: speed, better: 'more', plotted: true },
    { key: 'generator', title: 'CPU of the generator', unit: cost, better: 'less', plotted: false },
    { key: 'origin', title: 'CPU of the origin', unit: cost, better: 'less', plotted: false },
    { key: 'resident', title: 'resident', unit: 'MiB', better: 'less', plotted: false },
  ];
}

/** Bodies of one kind and length, several at once. */
export function transfer(options: TransferOptions): Workload {
  return {
    name: options.name,
    title: options.title,
    figures: figuresOf(options),
    prove: (contender) => proveBytes(contender, options),
    open: () => openTransfer(options),
  };
}

async function openTransfer(options: TransferOptions): Promise<OpenWorkload> {
  const { kind, bodyBytes, connections, roundSeconds } = options;
  const origin = await Origin.start({ downloadBytes: kind === 'download' ? bodyBytes : 0 });
  const generator = new LoadGenerator();
  const generatorUsage = new ProcessUsage([generator.pid]);
  const originUsage = new ProcessUsage([origin.pid]);

  const once = async (running: RunningContender, usage: ProcessUsage, exchanges: number) => {
    const load: Load = {
      port: running.port,
      kind,
      connections,
      exchanges,
      bodyBytes,
      frameBytes: options.frameBytes,
      keepAlive: options.keepAlive,
      heldBytes: 0,
      fields: [...callerFields],
    };
    const before = await origin.counts();
    const began = [usage, generatorUsage, originUsage].map((each) => each.cpuSeconds());
    const outcome = await generator.run(load);
    const used = [usage, generatorUsage, originUsage].map((each, i) => each.cpuSeconds() - (began[i] ?? 0));
    const after = await origin.counts();
    const failures = Object.entries(outcome.failures).map(([why, count]) => `${count} times ${why}`);
    if (failures.length > 0) throw new Error(`of ${exchanges} bodies: ${failures.join(', ')}`);
    const arrived = kind === 'upload' ? after.uploadBytes - before.uploadBytes : outcome.bodyBytes;
    if (arrived !== exchanges * bodyBytes) {
      throw new Error(`${arrived} of ${exchanges * bodyBytes} bytes have arrived`);
    }
    const amount = options.per === 'GB' ? arrived / gigabyte : exchanges;
    const [cpu = 0, generatorCpu = 0, originCpu = 0] = used.map(
      (seconds) => (seconds * (options.per === 'GB' ? 1 : 1e6)) / amount,
    );
    const figures: Figures = {
      ...(running.pids.length > 0 && { cpu, resident: usage.residentBytes() / MiB }),
      speed: amount / (outcome.wallMs / 1000),
      generator: generatorCpu,
      origin: originCpu,
    };
    return figures;
  };

  return {
    originPort: origin.port,
    rounds(running) {
      const usage = new ProcessUsage(running.pids);
      let exchanges = 0;
      return async () => {
        const warm = exchanges > 0;
        if (!warm) {
          const enough = Math.min(warmUp.bodies, Math.ceil(warmUp.bytes / bodyBytes));
          exchanges = Math.max(connections, enough);
        }
        const figures = await once(running, usage, exchanges);
        if (!warm) {
          const speed = figures.speed ?? 0;
          const bodiesPerSecond = options.per === 'GB' ? (speed * gigabyte) / bodyBytes : speed;
          exchanges = Math.max(connections, Math.round(bodiesPerSecond * roundSeconds));
        }
        return figures;
      };
    },
    async close() {
      await generator.stop();
      await origin.stop();
    },
  };
}
