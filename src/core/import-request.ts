import { GatewayError } from './errors.ts';
import { isJsonObject, member } from './json-body.ts';

/** The methods of Glance's import call. */
export const importMethods = ['glance-direct', 'web-download', 'copy-image', 'glance-download'] as const;
export type ImportMethod = (typeof importMethods)[number];

/** Every way by which an image may get bytes that do not come through an upload. */
export type ImportWay = ImportMethod | 'tasks' | 'locations';

/** What `POST .../import` asks for. */
export interface ImportRequest {
  readonly method: ImportMethod;
  /** Ids of the stores that shall hold the image, as written. Empty: the default store of the API, or `allStores`. */
  readonly stores: readonly string[];
  /** True: every store of the API. Then `stores` is empty. */
  readonly allStores: boolean;
}

/**
 * Reads the body of an import call as Glance does (`get_stores_from_request`).
 * @param storeHeader the value of X-Image-Meta-Store, which names one store where the body names none
 * @throws GatewayError `import-invalid` if the method is missing or unknown, or the stores are said twice or oddly.
 */
export function readImport(document: unknown, storeHeader: string | undefined): ImportRequest {
  const call = isJsonObject(document) ? document : {};
  const methodObject = member(call, 'method');
  const name = isJsonObject(methodObject) ? member(methodObject, 'name') : undefined;
  const method = importMethods.find((each) => each === name);
  if (method === undefined) {
    throw new GatewayError('import-invalid', `method.name is none of ${importMethods.join(', ')}.`);
  }
  const allStores = member(call, 'all_stores') ?? false;
  if (typeof allStores !== 'boolean') {
    throw new GatewayError('import-invalid', 'all_stores is neither true nor false.');
  }
  const listed = readStores(member(call, 'stores'));
  const named = storeHeader === undefined ? null : [storeHeader];
  if ([allStores, listed !== null, named !== null].filter(Boolean).length > 1) {
    throw new GatewayError('import-invalid', 'The stores are said in more than one way.');
  }
  return { method, stores: listed ?? named ?? [], allStores };
}

function readStores(value: unknown): readonly string[] | null {
  if (value === undefined) return null;
  const stores = Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
  if (Array.isArray(value) && stores.length > 0 && stores.length === value.length) return stores;
  throw new GatewayError('import-invalid', 'stores is not a list of ids of stores.');
}
