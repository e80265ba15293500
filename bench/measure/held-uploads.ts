import { setTimeout as sleep } from 'node:timers/promises';
import { KiB, MiB } from '../../src/core/units.ts';
import { proveBytes } from './byte-proof.ts';
import { callerFields } from './caller.ts';
import type { RunningContender } from './contender.ts';
import { type Load, LoadGenerator } from './load.ts';
import { Origin } from './origin.ts';
import { ProcessUsage } from './process-usage.ts';
import type { Figures, OpenWorkload, Workload } from './workload.ts';

/** Uploads that are sent by half and held. */
export interface HeldUploadsOptions {
  readonly name: string;
  readonly title: string;
  /** At once. */
  readonly uploads: number;
  /** 0: their length is told. */
  readonly frameBytes: number;
}

/** Half of it is sent. */
const bodyBytes = 128 * KiB;
/** What a process allocates once is not what an upload costs. */
const warmUpUploads = 100;
/** A contender that passes nothing on for so long keeps it. */
const patienceMs = 3_000;
const watchedMs = 2_000;

/** What one upload costs while nothing happens: its memory, and the CPU that all of them take. */
export function heldUploads(options: HeldUploadsOptions): Workload {
  return {
    name: options.name,
    title: options.title,
    mostRounds: 1,
    figures: [
      { key: 'each', title: 'resident for each', unit: 'KiB', better: 'less', plotted: true },
      { key: 'resident', title: 'resident in all', unit: 'MiB', better: 'less', plotted: false },
      { key: 'cpu', title: 'CPU while they are held', unit: 'ms/s', better: 'less', plotted: false },
      {
        key: 'arrived',
        title: 'of what was sent, the origin has',
        unit: '%',
        better: 'more',
        plotted: false,
      },
    ],
    prove: (contender) => proveBytes(contender, { kind: 'upload', frameBytes: options.frameBytes }),
    open: () => openHeldUploads(options),
  };
}

async function openHeldUploads({ uploads, frameBytes }: HeldUploadsOptions): Promise<OpenWorkload> {
  const origin = await Origin.start({ downloadBytes: 0 });
  const generator = new LoadGenerator();

  const hold = async (running: RunningContender, count: number, watches: boolean): Promise<Figures> => {
    const usage = new ProcessUsage(running.pids);
    const residentBytes = async (): Promise<number> => {
      await running.collectGarbage?.();
      return usage.residentBytes();
    };
    const load: Load = {
      port: running.port,
      kind: 'upload',
      connections: count,
      exchanges: count,
      bodyBytes,
      frameBytes,
      keepAlive: false,
      // the first frames, whole
      heldBytes: frameBytes > 0 ? bodyBytes / 2 + framingBytes(frameBytes) : bodyBytes / 2,
      fields: [...callerFields],
    };
    const beforeBytes = await residentBytes();
    const before = await origin.counts();
    const release = await generator.hold(load);
    const wholeBytes = (count * bodyBytes) / 2;
    let arrivedBytes = 0;
    for (let sinceMs = performance.now(); arrivedBytes < wholeBytes; ) {
      const nowBytes = (await origin.counts()).uploadBytes - before.uploadBytes;
      if (nowBytes > arrivedBytes) sinceMs = performance.now();
      else if (performance.now() - sinceMs > patienceMs) break;
      arrivedBytes = nowBytes;
      if (arrivedBytes < wholeBytes) await sleep(50);
    }
    const heldBytes = await residentBytes();
    const beganSeconds = usage.cpuSeconds();
    if (watches) await sleep(watchedMs);
    const cpu = ((usage.cpuSeconds() - beganSeconds) * 1000) / (watchedMs / 1000);
    const outcome = await release();
    const failures = Object.entries(outcome.failures).map(([why, times]) => `${times} times ${why}`);
    if (failures.length > 0) throw new Error(`of ${count} uploads: ${failures.join(', ')}`);
    const proxy = {
      each: (heldBytes - beforeBytes) / count / KiB,
      resident: heldBytes / MiB,
      cpu,
    };
    return {
      ...(running.pids.length > 0 && proxy),
      arrived: (arrivedBytes / wholeBytes) * 100,
    };
  };

  return {
    originPort: origin.port,
    rounds(running) {
      let warm = false;
      return async () => {
        const figures = await hold(running, warm ? uploads : warmUpUploads, warm);
        warm = true;
        return figures;
      };
    },
    async close() {
      await generator.stop();
      await origin.stop();
    },
  };
}

/** Of the framing around half a body. */
function framingBytes(frameBytes: number): number {
  return (bodyBytes / 2 / frameBytes) * `${frameBytes.toString(16)}\r\n\r\n`.length;
}
