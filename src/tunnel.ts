import { type AccessRecord, newRecord } from './access.ts';
import { GatewayError } from './core/errors.ts';
import { joinedHeader } from './core/headers.ts';
import { classify } from './core/operation.ts';
import { traceContext } from './core/trace-context.ts';
import { conclude, requestIdFields, type Services } from './exchange.ts';
import { asGatewayError } from './forward.ts';
import { refuseRaw } from './http/answer.ts';
import { neverArrived } from './http/connection-pool.ts';
import { passUpgrade, type UpgradeRequest } from './http/upgrade.ts';
import { checkHead, headUpstream } from './request-head.ts';
import type { ServerUse } from './upstream-server.ts';

/**
 * The life of a request for another protocol: classify, then let it through or refuse it. One answer and one line of
 * the log, which is written when the connection is closed. Makes no spans. Never throws.
 */
export async function tunnel(services: Services, asked: UpgradeRequest): Promise<void> {
  const beganMs = performance.now();
  const record = newRecord(asked.requestId, asked.request.method ?? '');
  const refuse = (error: GatewayError): void => {
    record.error = error.code;
    const answeredBytes = refuseRaw(asked.socket, error, asked.requestId, asked.lingering);
    if (answeredBytes === null) return;
    record.status = error.status;
    record.answeredBytes = answeredBytes;
  };
  let use: ServerUse | null = null;
  try {
    const { target, headers } = classifyUpgrade(services, asked, record);
    const chosen = services.upstreams.useOne();
    use = chosen;
    record.upstream = chosen.server.host;
    const status = await passUpgrade(
      asked,
      { origin: chosen.server.origin, responseTimeoutMs: services.config.upstream.responseTimeoutMs },
      { target, headers },
      {
        refuse: (error) => {
          if (neverArrived.has(error.code) || error.code === 'upstream-lost') chosen.failed();
          refuse(error);
        },
        answerFields: (answered) => {
          chosen.answered();
          return requestIdFields(answered, record);
        },
      },
    );
    record.status = status ?? record.status;
  } catch (thrown) {
    refuse(asGatewayError(thrown));
  } finally {
    use?.end();
    conclude(services, record, performance.now() - beganMs);
  }
}

function classifyUpgrade(
  services: Services,
  asked: UpgradeRequest,
  record: AccessRecord,
): { target: string; headers: readonly string[] } {
  const { request } = asked;
  const raw = request.rawHeaders;
  const trace = traceContext(raw);
  record.traceId = trace?.traceId ?? null;
  const told = checkHead(services, asked, record);
  const method = request.method ?? '';
  const { action, route, upgrade, target } = classify(services.config.api, {
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
  const { requestId } = record;
  return { target, headers: headUpstream(services, asked, { told, requestId, trace, host: null }) };
}
