import { GatewayError } from './errors.ts';
import type { LeastRate } from './least-rate.ts';

/** What can be wrong with a body on its way, in the same words whatever moves it. Bytes are those of the body. */

export function clientLeft(receivedBytes: number): GatewayError {
  const detail = `The connection closed after ${receivedBytes} bytes of the body.`;
  return new GatewayError('client-gone', detail, { ending: 'client-gone' });
}

export function longerThanDeclared(declaredBytes: number): GatewayError {
  const detail = `The body goes on after the ${declaredBytes} bytes that were declared.`;
  return new GatewayError('size-mismatch', detail, { ending: 'too-large' });
}

export function shorterThanDeclared(receivedBytes: number, declaredBytes: number): GatewayError {
  const detail = `The body ended after ${receivedBytes} of the ${declaredBytes} bytes that were declared.`;
  return new GatewayError('size-mismatch', detail, { ending: 'client-gone' });
}

export function longerThanAllowed(maxBytes: number): GatewayError {
  const detail = `The body goes on after ${maxBytes} bytes, the most an upload may have.`;
  return new GatewayError('too-large', detail, { ending: 'too-large', facts: { limit: maxBytes } });
}

export function clientSilent(timeoutMs: number): GatewayError {
  const detail = `Nothing arrived for ${timeoutMs / 1000} s in the middle of the body.`;
  return new GatewayError('client-stalled', detail, { ending: 'client-stalled' });
}

/** @param lotBytes of `leastRate.bytes`, what has arrived. */
export function clientBelowRate(leastRate: LeastRate, lotBytes: number): GatewayError {
  const detail = `Of ${leastRate.bytes} bytes that must arrive within ${leastRate.perMs / 1000} s, ${lotBytes} did.`;
  return new GatewayError('client-too-slow', detail, { ending: 'client-too-slow' });
}

export function chunkNotTaken(timeoutMs: number, sentBytes: number): GatewayError {
  const detail = `The API did not take a chunk within ${timeoutMs / 1000} s, after ${sentBytes} bytes.`;
  return new GatewayError('upstream-stalled', detail, { ending: 'upstream-stalled' });
}

/** The body has not come to its end in time: whoever was waited for longer is told so. */
export function notInTime(limitMs: number, clientMs: number, upstreamMs: number): GatewayError {
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(3)} s`;
  const detail =
    `The body took longer than ${limitMs / 1000} s: ${seconds(clientMs)} were spent waiting for the client, ` +
    `${seconds(upstreamMs)} for the API.`;
  const code = clientMs >= upstreamMs ? 'client-too-slow' : 'upstream-stalled';
  return new GatewayError(code, detail, { ending: code });
}
