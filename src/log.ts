import { type DestinationStream, type Logger, pino } from 'pino';
import type { AccessRecord } from './access.ts';

export type Log = Logger;

/** JSON lines, to standard output unless told otherwise. Times are ISO 8601 in UTC. */
export function createLog(level: string, destination?: DestinationStream): Log {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

/** The one line of a request. Fields that do not apply are left out. */
export function logAccess(log: Log, record: AccessRecord, durationMs: number): void {
  const { user, project, upload } = record;
  log.info(
    {
      request_id: record.requestId,
      ...(record.upstreamRequestId !== null && { upstream_request_id: record.upstreamRequestId }),
      ...(record.traceId !== null && { trace_id: record.traceId }),
      client: record.client,
      method: record.method,
      action: record.action,
      route: record.route,
      ...(record.image !== null && { image: record.image }),
      ...(user !== null && { user }),
      ...(project !== null && { project }),
      status: record.status,
      ...(record.error !== null && { error: record.error }),
      ...(record.upstream !== null && { upstream: record.upstream }),
      ...(upload !== null && { upload, lane: record.lane, ending: record.ending }),
      received_bytes: record.receivedBytes,
      sent_bytes: record.sentBytes,
      answered_bytes: record.answeredBytes,
      duration_ms: Math.round(durationMs * 1000) / 1000,
    },
    'request',
  );
}
