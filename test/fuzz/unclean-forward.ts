import type { LegalRequest } from './legal-requests.ts';
import type { StrictRequest } from './strict-request.ts';

/**
 * Holds what the upstream received against what the client's bytes contain: each request is one of these, in their order,
 * with their bytes; whole only if they are; none of a body twice.
 * @returns what is wrong; null where nothing is.
 */
export function uncleanForward(
  legal: readonly LegalRequest[],
  received: readonly StrictRequest[],
): string | null {
  let next = 0;
  for (const request of received) {
    const { method, target } = request;
    const again = next > 0 && method !== 'PUT' ? next - 1 : next;
    const alike = legal.findLastIndex((each, i) => i >= again && isSame(each, request));
    const exact = legal.findIndex(
      (each, i) => i >= again && isSame(each, request) && !bodyFault(each, request),
    );
    const at = exact === -1 ? alike : exact;
    const one = legal[at];
    if (one === undefined) return `the client never sent this request, or not so often: ${method} ${target}`;
    const kept = one.named.find((name) => request.fields.has(name));
    if (kept !== undefined) return `a field that Connection names was sent on, ${kept}: ${method} ${target}`;
    const wrong = bodyFault(one, request);
    if (wrong !== null) return `${wrong}: ${method} ${target}`;
    next = at + 1;
  }
  return null;
}

/** Versions have aliases, which are written as `v2`. */
function isSame({ method, target, token }: LegalRequest, request: StrictRequest): boolean {
  if (method !== request.method) return false;
  if (target !== request.target && target.replace(/^\/v2\.\d+\//, '/v2/') !== request.target) return false;
  // `Connection` may have taken it away
  const given = request.fields.get('x-fuzz-case');
  return given === undefined || given === token;
}

function bodyFault({ body, whole }: LegalRequest, request: StrictRequest): string | null {
  const got = Buffer.concat(request.pieces);
  const begun = body.subarray(0, got.length).equals(got);
  // JSON that is judged is never sent before it is whole
  if (!request.whole) return begun ? null : 'the upstream got bytes that the client never sent';
  if (!whole) return 'the upstream got a whole body where the client sent half of one';
  return sameBody(got, body) ? null : 'the upstream got another body';
}

/** JSON that is judged is written anew. */
export function sameBody(got: Buffer, sent: Buffer): boolean {
  if (got.equals(sent)) return true;
  try {
    return JSON.stringify(JSON.parse(got.toString())) === JSON.stringify(JSON.parse(sent.toString()));
  } catch {
    return false;
  }
}
