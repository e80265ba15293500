import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { MiB } from '../../src/core/units.ts';

/** What figures depend on beside what is measured. */
export interface Machine {
  readonly processor: string;
  readonly processors: number;
  readonly memoryMiB: number;
  readonly kernel: string;
  readonly system: string;
  readonly node: string;
  /** What was runnable in the last minute before the measurement: more than 0 means that the machine did other work. */
  readonly loadBefore: number;
}

export function thisMachine(): Machine {
  let system = 'unknown';
  try {
    system = /^PRETTY_NAME="?(.*?)"?$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? system;
  } catch {
    // a system without that file has no name here
  }
  return {
    processor: cpus()[0]?.model ?? 'unknown',
    processors: availableParallelism(),
    memoryMiB: Math.round(totalmem() / MiB),
    kernel: release(),
    system,
    node: process.version,
    loadBefore: Math.round((loadavg()[0] ?? 0) * 100) / 100,
  };
}
