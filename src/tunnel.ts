import { randomUUID } from 'node:crypto';
import { type AccessRecord, newRecord } from './access.ts';
import { GatewayError } from './core/errors.ts';
import { forwardedFor } from './core/forwarded.ts';
import { checkHeaders, joinedHeader, requestHeaders, requestId } from './core/headers.ts';
import { classify } from './core/operation.ts';
import { conclude, type Services } from './exchange.ts';
import { asGatewayError } from './forward.ts';
import { refuseUpgrade, type UpgradeRequest, type Upgrades } from './http/upgrade.ts';

/**
 * The life of a request for another protocol: classify, then let it through or refuse it. One answer and one line of
 * the log, which is written when the connection is closed. Never throws.
 */
export async function tunnel(services: Services, upgrades: Upgrades, asked: UpgradeRequest): Promise<void> {
  const beganMs = performance.now();
  const { request } = asked;
  const record = newRecord(requestId(request.rawHeaders) ?? `req-${randomUUID()}`, request.method ?? '');
  const refuse = (error: GatewayError): void => {
    record.error = error.code;
    const answeredBytes = refuseUpgrade(asked, error);
    if (answeredBytes === null) return;
    record.status = error.status;
    record.answeredBytes = answeredBytes;
  };
  try {
    const { target, headers } = classifyUpgrade(services, asked, record);
    record.status = (await upgrades.pass(asked, target, headers, refuse)) ?? record.status;
  } catch (thrown) {
    refuse(asGatewayError(thrown));
  } finally {
    conclude(services, record, performance.now() - beganMs);
  }
}

function classifyUpgrade(
  { config, identity, trustedProxies }: Services,
  { request, peerAddress }: UpgradeRequest,
  record: AccessRecord,
): { target: string; headers: readonly string[] } {
  const raw = request.rawHeaders;
  const forwarded = forwardedFor(raw, peerAddress, (address) => trustedProxies.has(address));
  record.client = forwarded.clientAddress;
  checkHeaders(raw, request.httpVersion);
  const method = request.method ?? '';
  const { action, route, upgrade, target } = classify(config.api, {
    method,
    target: request.url ?? '',
    accept: joinedHeader(raw, 'accept'),
  });
  if (!upgrade) throw new GatewayError('upgrade-refused', 'The route takes HTTP/1.1 only.');
  // all that http-proxy carries; anything else it would cut off without a word
  if (method !== 'GET' || request.headers.upgrade?.toLowerCase() !== 'websocket') {
    const detail = 'The one protocol that a route may allow is websocket, asked with GET.';
    throw new GatewayError('upgrade-refused', detail);
  }
  record.action = action;
  record.route = route;
  const headers = requestHeaders(raw, {
    method,
    trustIdentity: identity.trusts(peerAddress),
    trustServiceToken: identity.trustsServiceToken(peerAddress),
    identityNames: identity.headerNames,
    sizeHeader: config.api.sizeHeader,
  });
  headers.push('X-Forwarded-For', forwarded.xForwardedFor, 'X-Openstack-Request-Id', record.requestId);
  return { target, headers };
}
