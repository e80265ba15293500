// W3C Trace Context, https://www.w3.org/TR/trace-context-2/
import { countHeaders, joinedHeader, type RawHeaders } from './headers.ts';

/** The trace that a request belongs to, as its sender says it. */
export interface TraceContext {
  /** As it came. */
  readonly traceparent: string;
  /** All fields joined; null where there is none, or one that is malformed. */
  readonly tracestate: string | null;
  /** 32 hexadecimal digits in lower case, not all 0. */
  readonly traceId: string;
}

/** The longest traceparent of a version to come. Version 00 has 55 characters. */
export const longestTraceparent = 256;

/** §3.3.1.1: the most members of a list. */
export const maxTracestateMembers = 32;

/** §3.3.1.5: what everybody should be able to carry, in characters; what is longer is not sent on. */
export const longestTracestate = 512;

/** The fields that carry a context on: a flat raw list. */
export const traceFields = (context: TraceContext | null): string[] =>
  context === null
    ? []
    : [
        'traceparent',
        context.traceparent,
        ...(context.tracestate === null ? [] : ['tracestate', context.tracestate]),
      ];

const parentFormat = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/;
const zeros = /^0+$/;
// keys as in level 2, which allows a digit in front
const memberFormat =
  /^[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

/**
 * The context that may be sent on; null where there is none, or one that is malformed. A tracestate without
 * its traceparent is none (§3.3).
 */
export function traceContext(raw: RawHeaders): TraceContext | null {
  if (countHeaders(raw, 'traceparent') !== 1) return null;
  const traceparent = joinedHeader(raw, 'traceparent') ?? '';
  if (traceparent.length > longestTraceparent) return null;
  const [, version = 'ff', traceId = '', parentId = '', more] = parentFormat.exec(traceparent) ?? [];
  // §3.2.2: ff is no version; only versions after 00 may go on behind the flags
  if (version === 'ff' || (version === '00' && more !== undefined)) return null;
  if (zeros.test(traceId) || zeros.test(parentId)) return null;
  return { traceparent, tracestate: tracestateOf(joinedHeader(raw, 'tracestate')), traceId };
}

function tracestateOf(list: string | undefined): string | null {
  if (list === undefined || list.length > longestTracestate) return null;
  // §3.3.1.1: empty members are allowed
  const members = list
    .split(',')
    .map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ''))
    .filter((member) => member !== '');
  if (members.length === 0 || members.length > maxTracestateMembers) return null;
  if (!members.every((member) => memberFormat.test(member))) return null;
  const keys = new Set(members.map((member) => member.slice(0, member.indexOf('='))));
  return keys.size === members.length ? list : null;
}
