import type { RunOptions } from './run-options.ts';
export async function runCapacity(_options: RunOptions): Promise<string> {
  return '';
}
