import type { ImportRequest } from './import-request.ts';

/**
 * How many copies of an image an import adds to those that count already. What is staged counts as one. 0 where the size
 * of what comes is not known before (`web-download`, `glance-download`): nothing can be set aside for it.
 * @param present ids of the stores that hold the image.
 * @param writableStores how many stores of the API can be written to.
 */
export function copiesAdded(
  { method, stores, allStores }: ImportRequest,
  present: readonly string[],
  writableStores: number,
): number {
  switch (method) {
    case 'glance-direct':
      return Math.max(1, allStores ? writableStores : new Set(stores).size) - 1;
    case 'copy-image':
      if (allStores) return Math.max(0, writableStores - new Set(present).size);
      // Glance takes its default store where none is named, and refuses one that has the image: but a copy may be
      // deleted before it looks, so each named one counts
      return Math.max(1, new Set(stores).size);
    default:
      return 0;
  }
}
