import type { SpliceEngine } from './splice-engine.ts';

/** Rejects with a reason for operators where there can be none. */
export type StartEngine = () => Promise<SpliceEngine>;

let started: Promise<SpliceEngine> | null = null;

/**
 * The one engine of this process, started when it is first asked for. Rejects with a reason for operators where there can be
 * none; koffi is not even loaded before, so that whoever does not want it does not need it.
 */
export function sharedEngine(): Promise<SpliceEngine> {
  started ??= import('./splice-engine.ts').then(({ SpliceEngine }) => SpliceEngine.start());
  return started;
}
