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
  /** How long a round of the ratios takes, about. */
  readonly roundSeconds: number;
  readonly command: string;
  say(line: string): void;
}

/** What figures depend on; not what a run itself writes, nor what explains it. */
const measured = ['src', 'bench', 'nginx-compare', 'package-lock.json', ':!nginx-compare/results', ':!*.md'];

/** What a run's figures are of: the commit, with a mark if files differ from it. */
export function commit(): string {
  const git = (...args: string[]): string => execFileSync('git', args, { encoding: 'utf8' }).trim();
  const changed = git('status', '--porcelain', '--', ...measured) !== '';
  return `${git('rev-parse', '--short=12', 'HEAD')}${changed ? '-dirty' : ''}`;
}
