import { readdirSync, readFileSync } from 'node:fs';

/** proc(5) counts CPU in hundredths of a second, whatever the kernel's own tick (USER_HZ). */
const ticksPerSecond = 100;

interface Stat {
  readonly pid: number;
  readonly parent: number;
  /** User and system time of all threads, and of children that were waited for. */
  readonly cpuSeconds: number;
}

/** CPU and memory of processes, with all that they have started and that still run, from /proc. */
export class ProcessUsage {
  readonly #roots: readonly number[];

  constructor(pids: readonly number[]) {
    this.#roots = pids;
  }

  /** Those that run now. */
  pids(): readonly number[] {
    return this.#family().map(({ pid }) => pid);
  }

  /** Used until now by all threads of all of them, in seconds, to a hundredth. A process that is gone counts nothing. */
  cpuSeconds(): number {
    return this.#family().reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0);
  }

  /** Resident now (VmRSS), in bytes; what several of them share is counted for each. */
  residentBytes(): number {
    return this.#family().reduce((sum, { pid }) => sum + residentBytesOf(pid), 0);
  }

  #family(): Stat[] {
    const all = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => statOf(name) ?? []);
    const family = all.filter(({ pid }) => this.#roots.includes(pid));
    // it grows while it is walked, by children of children
    for (const { pid } of family)
      family.push(...all.filter((each) => each.parent === pid && !family.includes(each)));
    return family;
  }
}

function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // the process is gone, or is not ours
    return null;
  }
}

/** /proc/PID/stat; the name in brackets may hold spaces and brackets itself. */
function statOf(pid: number | string): Stat | null {
  const text = read(`/proc/${pid}/stat`);
  if (text === null) return null;
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const field = (number: number): number => Number(fields[number - 3]);
  const ticks = field(14) + field(15) + field(16) + field(17);
  return { pid: Number(pid), parent: field(4), cpuSeconds: ticks / ticksPerSecond };
}

function residentBytesOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`) ?? '')?.[1] ?? 0) * 1024;
}
