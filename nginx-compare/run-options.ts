import { execFileSync } from 'node:child_process';
import type { LaneName } from './sluice.ts';

/** What every kind of run is told. */
export interface RunOptions {
  /** Its URL, with `/v3`. */
  readonly keystone: string;
  readonly lane: LaneName;
  readonly quick: boolean;
  /** One workload; '' for all. */
  readonly only: string;
  readonly command: string;
  say(line: string): void;
}

/** What a run's figures are of: the commit, with a mark if the files are not as it has them. */
export function commit(): string {
  return execFileSync('git', ['describe', '--always', '--dirty', '--abbrev=12'], { encoding: 'utf8' }).trim();
}
