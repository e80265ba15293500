import type { Forwarded } from './forwarded.ts';
import { joinedHeader, type RawHeaders } from './headers.ts';
import { type TraceContext, traceFields } from './trace-context.ts';
import { viaWith } from './via.ts';

export interface HopOptions {
  readonly forwarded: Forwarded;
  /** Of the client's request, e.g. `1.1`. */
  readonly httpVersion: string;
  /** Our name in `Via`. */
  readonly pseudonym: string;
  readonly requestId: string;
  readonly trace: TraceContext | null;
}

/** What we write anew into every request that goes upstream, in place of what `requestHeaders` left out: a flat raw list. */
export function hopFields(
  raw: RawHeaders,
  { forwarded, httpVersion, pseudonym, requestId, trace }: HopOptions,
): string[] {
  return [
    ...forwarded.fields,
    'Via',
    viaWith(joinedHeader(raw, 'via'), httpVersion, pseudonym),
    'X-Openstack-Request-Id',
    requestId,
    ...traceFields(trace),
  ];
}
