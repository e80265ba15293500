import type { IncomingMessage } from 'node:http';

/** What a request means to the router, after everything that Glance does to it first. */
export interface ImageTarget {
  readonly method: string;
  /** Decoded; begins with `/v2` where the target has the version in any of its spellings. */
  readonly path: string;
  readonly query: URLSearchParams;
}

/**
 * Reads a request as Glance's pipeline does, with all that makes it dangerous to match paths in front of it:
 * leading slashes are swallowed, the path is percent-decoded before routing (`%2F` too), `v2.0` to `v2.18` mean `v2`,
 * an `Accept` of the right type replaces the version in the path, and the last `_method` of the query is the method.
 */
export function imageTarget(request: IncomingMessage): ImageTarget {
  const [rawPath = '', ...rest] = (request.url ?? '').split('?');
  const rawQuery = rest.join('?');
  const query = new URLSearchParams(rawQuery);
  const override = rawQuery.includes('_method') ? query.getAll('_method').at(-1) : undefined;
  const decoded = decode(rawPath).replace(/^\/*/, '/');
  const versioned = request.headers.accept?.startsWith('application/vnd.openstack.images-v2')
    ? `/v2${decoded}`
    : decoded.replace(/^\/v2(\.\d|\.1[0-8])(?=\/|$)/, '/v2');
  return { method: (override ?? request.method ?? '').toUpperCase(), path: versioned, query };
}

function decode(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
