import type { Ending } from './core/endings.ts';
import type { ErrorCode } from './core/errors.ts';
import type { Action } from './core/profile.ts';

/**
 * What there is to say about one request when it is over: the fields of its log line. Filled in by the phases
 * of an exchange as they learn more. Never holds a query, a token, or any other header than the request's and the trace's id.
 */
export interface AccessRecord {
  /** What went upstream, and what the client reads unless `upstreamRequestId` says otherwise. */
  readonly requestId: string;
  /** The API's own where it is another: the client reads that one. */
  upstreamRequestId: string | null;
  /** Of the trace that the request belongs to (W3C Trace Context). */
  traceId: string | null;
  readonly method: string;
  /** As far as trusted proxies tell. */
  client: string;
  action: Action | 'refused';
  /** The path pattern of the route, `other`, or `none` when the target was refused. */
  route: string;
  image: string | null;
  user: string | null;
  /** The one that pays, where that is known; else the one the request is made in. */
  project: string | null;
  /** Of the answer that was sent; 499 when the client left before there was one (nginx' code). */
  status: number;
  /** Code of the error that Sluice answered with. */
  error: ErrorCode | null;
  /** `HOST:PORT` of the server that was asked, the last one where there were several; null where none was. */
  upstream: string | null;
  upload: string | null;
  lane: string | null;
  ending: Ending | null;
  /** Bytes of bodies: from the client, to the upstream, and back to the client. */
  receivedBytes: number;
  sentBytes: number;
  answeredBytes: number;
}

/** What nginx logs for a client that closed the connection before it was answered. */
export const clientClosedStatus = 499;

export function newRecord(requestId: string, method: string): AccessRecord {
  return {
    requestId,
    upstreamRequestId: null,
    traceId: null,
    method,
    client: '',
    action: 'refused',
    route: 'none',
    image: null,
    user: null,
    project: null,
    status: clientClosedStatus,
    error: null,
    upstream: null,
    upload: null,
    lane: null,
    ending: null,
    receivedBytes: 0,
    sentBytes: 0,
    answeredBytes: 0,
  };
}
