import { once } from 'node:events';
import { type DestinationStream, type Logger, pino } from 'pino';
import type { AccessRecord } from './access.ts';
import { LineBatch } from './line-batch.ts';

export type Log = Logger;

/** JSON lines, with times in ISO 8601 and UTC. */
export function createLog(level: string, destination: DestinationStream): Log {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return pino(options, destination);
}

/** How long the end of the process waits for a reader of its lines that does not read. */
const longestCloseMs = 1_000;

/** A log to standard output, whose owner closes it. */
export interface OpenLog {
  readonly log: Log;
  /** Resolves when every line is written, or nobody has read them for a second. What is logged from now on is thrown away. */
  close(): Promise<void>;
}

/**
 * Lines are written beside the event loop, so that a slow reader of standard output holds no request up. A process that
 * ends with some of them on their way would lose them, or write them behind later ones.
 */
export function openLog(level: string): OpenLog {
  const batch = new LineBatch((lines) => destination.write(lines));
  // told before pino is, which then writes what it has been given: a process that dies of an error says so
  process.on('exit', batch.flush);
  const destination = pino.destination({ dest: 1, sync: false });
  const log = createLog(level, batch);
  return {
    log,
    close: async () => {
      log.level = 'silent';
      const bound = new Promise<void>((resolve) => setTimeout(resolve, longestCloseMs));
      const written = once(destination, 'close');
      process.off('exit', batch.flush);
      batch.flush();
      destination.end();
      await Promise.race([written, bound]);
    },
  };
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
