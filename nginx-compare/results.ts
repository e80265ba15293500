import { fileURLToPath } from 'node:url';

/** Where what a run gave is kept; a quick one is kept beside, out of the repository. */
export const resultsFolder = (quick: boolean): string =>
  fileURLToPath(new URL(quick ? '../dist/nginx-compare/results' : 'results', import.meta.url));
