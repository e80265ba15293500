import type { AccessRecord } from './access.ts';
import { GatewayError } from './core/errors.ts';
import { type Forwarded, forwarded } from './core/forwarded.ts';
import { checkHeaders, joinedHeader, requestHeaders } from './core/headers.ts';
import { hopFields } from './core/hop-fields.ts';
import type { TraceContext } from './core/trace-context.ts';
import { hasPassed } from './core/via.ts';
import type { Services } from './exchange.ts';
import { schemeOf } from './http/client.ts';
import type { UpgradeRequest } from './http/upgrade.ts';

/** A request of a client's, for HTTP or for another protocol. */
export type Asked = Pick<UpgradeRequest, 'request' | 'socket' | 'peerAddress'>;

/**
 * What holds for every head before anybody asks what it means: who sent it, that two servers read it in one way, and
 * that it has not been here before.
 * @returns what is believed of the way that it came.
 * @throws GatewayError as `checkHeaders`, and `loop-detected`.
 */
export function checkHead(
  { pseudonym, trustedProxies }: Services,
  { request, socket, peerAddress }: Asked,
  record: AccessRecord,
): Forwarded {
  const { rawHeaders, httpVersion } = request;
  const hop = { peerAddress, scheme: schemeOf(socket) };
  const told = forwarded(rawHeaders, hop, (address) => trustedProxies.has(address));
  record.client = told.clientAddress;
  checkHeaders(rawHeaders, httpVersion);
  if (hasPassed(rawHeaders, pseudonym)) throw new GatewayError('loop-detected', 'Via names this gateway.');
  return told;
}

export interface HeadUpstream {
  readonly told: Forwarded;
  readonly requestId: string;
  readonly trace: TraceContext | null;
  /** Said where the client names no host; null = nothing. */
  readonly host: string | null;
}

/** The fields that go upstream, without framing: those of the client that may, and ours. A flat raw list. */
export function headUpstream(
  { config, pseudonym, identity }: Services,
  { request, peerAddress }: Asked,
  { told, requestId, trace, host }: HeadUpstream,
): string[] {
  const { rawHeaders, httpVersion, method = '' } = request;
  const kept = requestHeaders(rawHeaders, {
    method,
    trustIdentity: identity.trusts(peerAddress),
    trustServiceToken: identity.trustsServiceToken(peerAddress),
    identityNames: identity.headerNames,
    sizeHeader: config.api.sizeHeader,
  });
  if (host !== null && joinedHeader(rawHeaders, 'host') === undefined) kept.push('Host', host);
  kept.push(...hopFields(rawHeaders, { forwarded: told, httpVersion, pseudonym, requestId, trace }));
  return kept;
}
