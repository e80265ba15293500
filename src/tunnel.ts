import { type AccessRecord, newRecord } from './access.ts';
import { GatewayError } from './core/errors.ts';
import { forwarded } from './core/forwarded.ts';
import { checkHeaders, joinedHeader, type RawHeaders, requestHeaders } from './core/headers.ts';
import { hopFields } from './core/hop-fields.ts';
import { classify } from './core/operation.ts';
import { traceContext } from './core/trace-context.ts';
import { hasPassed } from './core/via.ts';
import { conclude, requestIdFields, type Services } from './exchange.ts';
import { asGatewayError } from './forward.ts';
import { schemeOf } from './http/client.ts';
import { refuseRaw, type UpgradeRequest, type Upgrades } from './http/upgrade.ts';

/**
 * The life of a request for another protocol: classify, then let it through or refuse it. One answer and one line of
 * the log, which is written when the connection is closed. Makes no spans. Never throws.
 */
export async function tunnel(services: Services, upgrades: Upgrades, asked: UpgradeRequest): Promise<void> {
  const beganMs = performance.now();
  const record = newRecord(asked.requestId, asked.request.method ?? '');
  const refuse = (error: GatewayError): void => {
    record.error = error.code;
    const answeredBytes = refuseRaw(asked, error);
    if (answeredBytes === null) return;
    record.status = error.status;
    record.answeredBytes = answeredBytes;
  };
  try {
    const { target, headers } = classifyUpgrade(services, asked, record);
    const answerFields = (answered: RawHeaders): RawHeaders => requestIdFields(answered, record);
    const status = await upgrades.pass(asked, target, headers, { refuse, answerFields });
    record.status = status ?? record.status;
  } catch (thrown) {
    refuse(asGatewayError(thrown));
  } finally {
    conclude(services, record, performance.now() - beganMs);
  }
}

function classifyUpgrade(
  { config, pseudonym, identity, trustedProxies }: Services,
  { request, socket, peerAddress }: UpgradeRequest,
  record: AccessRecord,
): { target: string; headers: readonly string[] } {
  const { rawHeaders: raw, httpVersion } = request;
  const trace = traceContext(raw);
  record.traceId = trace?.traceId ?? null;
  const hop = { peerAddress, scheme: schemeOf(socket) };
  const told = forwarded(raw, hop, (address) => trustedProxies.has(address));
  record.client = told.clientAddress;
  checkHeaders(raw, httpVersion);
  if (hasPassed(raw, pseudonym)) throw new GatewayError('loop-detected', 'Via names this gateway.');
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
  headers.push(
    ...hopFields(raw, { forwarded: told, httpVersion, pseudonym, requestId: record.requestId, trace }),
  );
  return { target, headers };
}
