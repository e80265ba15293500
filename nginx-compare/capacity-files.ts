import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { capacityPage } from './capacity-page.ts';
import { capacityRunSchema, ratioRunSchema } from './capacity-run.ts';

const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** The page in docs/. */
export const capacityPageFile = file('../docs/capacity.md');
const ratiosFile = file('results/ratios.json');
const capacityFile = file('results/capacity.json');

/** What the page has to say by the runs that are kept. @throws Error where one is missing or lacks a figure. */
export async function pageOfRuns(): Promise<string> {
  const ratios = ratioRunSchema.parse(JSON.parse(await readFile(ratiosFile, 'utf8')));
  const capacity = capacityRunSchema.parse(JSON.parse(await readFile(capacityFile, 'utf8')));
  return capacityPage(ratios, capacity);
}

/** Writes the page, once both runs are there. */
export async function writeCapacityPage(): Promise<void> {
  if (existsSync(ratiosFile) && existsSync(capacityFile))
    await writeFile(capacityPageFile, await pageOfRuns());
}
