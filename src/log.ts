import { once } from 'node:events';
import { type DestinationStream, type Logger, pino } from 'pino';
import type { AccessRecord } from './access.ts';
import { LineBatch } from './line-batch.ts';

export type Log = Logger;

let shownSecond = Number.NaN;
let shownTime = '';

/** As pino's own, but the text of a second is made once. */
function isoTime(): string {
  const nowMs = Date.now();
  const second = Math.floor(nowMs / 1000);
  if (second !== shownSecond) {
    shownSecond = second;
    shownTime = new Date(second * 1000).toISOString().slice(0, -4);
  }
  return `,"time":"${shownTime}${String(nowMs - second * 1000).padStart(3, '0')}Z"`;
}

/** JSON lines, with times in ISO 8601 and UTC. */
export function createLog(level: string, destination: DestinationStream): Log {
  const options = {
    level,
    base: null,
    timestamp: isoTime,
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
  const { requestId, upstreamRequestId, traceId, client, method, action, route, image } = record;
  const { user, project, status, error, upstream, upload, lane, ending } = record;
  const line: Record<string, unknown> = { request_id: requestId };
  if (upstreamRequestId !== null) line.upstream_request_id = upstreamRequestId;
  if (traceId !== null) line.trace_id = traceId;
  line.client = client;
  line.method = method;
  line.action = action;
  line.route = route;
  if (image !== null) line.image = image;
  if (user !== null) line.user = user;
  if (project !== null) line.project = project;
  line.status = status;
  if (error !== null) line.error = error;
  if (upstream !== null) line.upstream = upstream;
  if (upload !== null) {
    line.upload = upload;
    line.lane = lane;
    line.ending = ending;
  }
  line.received_bytes = record.receivedBytes;
  line.sent_bytes = record.sentBytes;
  line.answered_bytes = record.answeredBytes;
  line.duration_ms = Math.round(durationMs * 1000) / 1000;
  log.info(line, 'request');
}
