import { Counter, Gauge, Histogram, Registry as PromRegistry } from 'prom-client';
import type { AccessRecord } from '../access.ts';
import type { ShownCertificate } from '../config/certificate.ts';
import { endings } from '../core/endings.ts';
import type { RateRule } from '../core/rate-limit.ts';
import type { EntranceFailure } from '../http/entrance.ts';
import { type BoundName, boundNames } from '../overload.ts';
import type { UpstreamServer } from '../upstream-server.ts';
import { processMetrics } from './process-metrics.ts';

/** What the gauges show at the moment they are asked. */
export interface Gauges {
  savingBytes(): number;
  uploadsInFlight(): number;
  uploadsUnresolved(): number;
  importsWatched(): number;
  connections(): number;
  bufferedBytes(): number;
  /** 0 = no limit, as for the two that follow. */
  mostConnections(): number;
  mostUploads(): number;
  mostBufferedBytes(): number;
  /** Of the configuration in force. */
  servers(): readonly Pick<UpstreamServer, 'host' | 'healthy' | 'underWay'>[];
  spliceLaneUp(): number;
  orphans(): number;
  certificates(): readonly ShownCertificate[];
}

/**
 * The numbers operators watch. Every label has a closed set of values, so the number of series is bounded
 * whatever clients and upstreams send. docs/metrics.md lists them; a test holds the two against each other.
 */
export class Metrics {
  readonly #registry = new PromRegistry();
  readonly #ofProcess = processMetrics();
  readonly #requests: Counter<'action' | 'status'>;
  readonly #seconds: Histogram<'action'>;
  readonly #uploads: Counter<'ending'>;
  readonly #uploadBytes: Counter<'leg'>;
  readonly #earlyAnswers: Counter<'status' | 'delivered'>;
  readonly #ledgerOperations: Counter<'operation' | 'outcome'>;
  readonly #quotaRefusals: Counter<'limit' | 'mode'>;
  readonly #rateRefusals: Counter<'action' | 'per'>;
  readonly #usageReadings: Counter<'outcome'>;
  readonly #identityChecks: Counter<'outcome'>;
  readonly #overloadRefusals: Counter<'bound'>;
  readonly #ejections: Counter<'server'>;
  readonly #retries: Counter<'reason'>;
  readonly #failedConnections: Counter<'stage' | 'reason'>;
  readonly #reloadSuccess: Gauge;

  constructor(gauges: Gauges, version: string) {
    const registers = [this.#registry];
    const gauge = (name: string, help: string, read: () => number): Gauge =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    gauge('sluice_saving_bytes', 'Bytes reserved for uploads and not yet settled.', () =>
      gauges.savingBytes(),
    );
    gauge('sluice_uploads_in_flight', 'Uploads under way.', () => gauges.uploadsInFlight());
    gauge(
      'sluice_uploads_unresolved',
      'Uploads that are over, but whose outcome the API has not told yet.',
      () => gauges.uploadsUnresolved(),
    );
    gauge('sluice_imports_watched', 'Imports of the API that are watched until they end.', () =>
      gauges.importsWatched(),
    );
    gauge('sluice_connections', 'Open connections of clients.', () => gauges.connections());
    gauge('sluice_buffered_bytes', 'Bytes of bodies in the memory of this process.', () =>
      gauges.bufferedBytes(),
    );
    gauge('sluice_max_connections', 'The bound max_connections in force; 0 = none.', () =>
      gauges.mostConnections(),
    );
    gauge('sluice_max_uploads', 'The bound max_uploads in force; 0 = none.', () => gauges.mostUploads());
    gauge('sluice_max_buffered_bytes', 'The bound max_buffered in force; 0 = none.', () =>
      gauges.mostBufferedBytes(),
    );
    const byServer = (
      name: string,
      help: string,
      read: (server: ReturnType<Gauges['servers']>[number]) => number,
    ): Gauge<'server'> =>
      new Gauge({
        name,
        help,
        labelNames: ['server'],
        registers,
        collect() {
          // those that a reload took away are not shown as they last were
          this.reset();
          for (const server of gauges.servers()) this.set({ server: server.host }, read(server));
        },
      });
    byServer(
      'sluice_upstream_healthy',
      '1 while the server passes its health checks and is not ejected, else 0.',
      ({ healthy }) => (healthy ? 1 : 0),
    );
    byServer(
      'sluice_upstream_uploads',
      'Uploads on their way to the server.',
      ({ underWay }) => underWay.uploads,
    );
    byServer(
      'sluice_upstream_requests',
      'Other requests that the server has not answered to the end.',
      ({ underWay }) => underWay.requests,
    );
    this.#ejections = new Counter({
      name: 'sluice_upstream_ejections_total',
      help: 'How often a server was taken out of the choice because requests to it came to nothing.',
      labelNames: ['server'],
      registers,
    });
    this.#retries = new Counter({
      name: 'sluice_upstream_retries_total',
      help: 'Requests sent once more: there was no connection, no answer, or the connection had waited too long.',
      labelNames: ['reason'],
      registers,
    });
    for (const reason of ['nowhere', 'unanswered', 'stale']) this.#retries.inc({ reason }, 0);
    gauge(
      'sluice_splice_lane_up',
      '1 while bodies may move through the kernel, 0 while all are streamed.',
      () => gauges.spliceLaneUp(),
    );
    gauge('sluice_orphans', 'Images left in saving without an upload, at the last look.', () =>
      gauges.orphans(),
    );
    this.#requests = new Counter({
      name: 'sluice_requests_total',
      help: 'Requests answered, by what they meant and the class of the status.',
      labelNames: ['action', 'status'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'sluice_request_seconds',
      help: 'Time from the head of a request to the end of its answer.',
      labelNames: ['action'],
      buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 300, 1800],
      registers,
    });
    this.#uploads = new Counter({
      name: 'sluice_uploads_total',
      help: 'Uploads that are over, by how they ended.',
      labelNames: ['ending'],
      registers,
    });
    for (const ending of endings) this.#uploads.inc({ ending }, 0);
    this.#uploadBytes = new Counter({
      name: 'sluice_upload_bytes_total',
      help: 'Bytes of the bodies of uploads: read from clients, written to upstreams.',
      labelNames: ['leg'],
      registers,
    });
    for (const leg of ['client', 'upstream']) this.#uploadBytes.inc({ leg }, 0);
    this.#earlyAnswers = new Counter({
      name: 'sluice_early_answers_total',
      help: 'Answers sent while the body of the upload was still on its way, and whether the client took them.',
      labelNames: ['status', 'delivered'],
      registers,
    });
    this.#ledgerOperations = new Counter({
      name: 'sluice_ledger_operations_total',
      help: 'Operations of the ledger.',
      labelNames: ['operation', 'outcome'],
      registers,
    });
    this.#quotaRefusals = new Counter({
      name: 'sluice_quota_refusals_total',
      help: 'Uploads that met a limit; in mode log they went on.',
      labelNames: ['limit', 'mode'],
      registers,
    });
    this.#rateRefusals = new Counter({
      name: 'sluice_rate_refusals_total',
      help: 'Requests refused because too many came, by the limit that they met.',
      labelNames: ['action', 'per'],
      registers,
    });
    this.#usageReadings = new Counter({
      name: 'sluice_usage_readings_total',
      help: 'Readings of stored bytes from the API.',
      labelNames: ['outcome'],
      registers,
    });
    this.#identityChecks = new Counter({
      name: 'sluice_identity_checks_total',
      help: 'Tokens judged: out of the cache, or by asking Keystone.',
      labelNames: ['outcome'],
      registers,
    });
    this.#overloadRefusals = new Counter({
      name: 'sluice_overload_refusals_total',
      help: 'Connections, uploads and other requests refused because the gateway has as much as it may.',
      labelNames: ['bound'],
      registers,
    });
    for (const bound of boundNames) this.#overloadRefusals.inc({ bound }, 0);
    this.#failedConnections = new Counter({
      name: 'sluice_connections_failed_total',
      help: 'Connections that ended in their PROXY header or handshake of TLS, before HTTP.',
      labelNames: ['stage', 'reason'],
      registers,
    });
    new Gauge({
      name: 'sluice_tls_certificate_expiry_timestamp_seconds',
      help: 'When a certificate shown to clients, or one of its chain, expires; seconds since 1970.',
      labelNames: ['listener', 'certificate'],
      registers,
      collect() {
        this.reset();
        for (const { listener, certificate } of gauges.certificates()) {
          this.set({ listener, certificate: certificate.file }, certificate.validToMs / 1000);
        }
      },
    });
    this.#reloadSuccess = new Gauge({
      name: 'sluice_config_last_reload_success',
      help: '1 if the last reading of the configuration file succeeded, 0 if the one before is still in force.',
      registers,
    });
    this.#reloadSuccess.set(1);
    new Gauge({ name: 'sluice_build_info', help: 'Always 1.', labelNames: ['version'], registers }).set(
      { version },
      1,
    );
  }

  /** Everything there is to read: of this gateway, and of the process it is in. */
  get registry(): PromRegistry {
    return PromRegistry.merge([this.#registry, this.#ofProcess]);
  }

  requestDone(record: AccessRecord, seconds: number): void {
    this.#requests.inc({ action: record.action, status: statusClass(record.status) });
    this.#seconds.observe({ action: record.action }, seconds);
    if (record.ending === null) return;
    this.#uploads.inc({ ending: record.ending });
    this.#uploadBytes.inc({ leg: 'client' }, record.receivedBytes);
    this.#uploadBytes.inc({ leg: 'upstream' }, record.sentBytes);
  }

  earlyAnswer(status: number, delivered: boolean): void {
    this.#earlyAnswers.inc({ status: statusClass(status), delivered: delivered ? 'yes' : 'no' });
  }

  ledgerOperation(operation: 'reserve' | 'grow' | 'settle', outcome: string): void {
    this.#ledgerOperations.inc({ operation, outcome });
  }

  quotaRefusal(limit: 'total' | 'saving' | 'uploads', mode: 'enforce' | 'log'): void {
    this.#quotaRefusals.inc({ limit, mode });
  }

  rateRefusal(action: RateRule['action'], per: RateRule['per']): void {
    this.#rateRefusals.inc({ action, per });
  }

  usageReading(outcome: 'read' | 'failed'): void {
    this.#usageReadings.inc({ outcome });
  }

  identityCheck(outcome: 'cached' | 'valid' | 'invalid' | 'unavailable'): void {
    this.#identityChecks.inc({ outcome });
  }

  overloadRefusal(bound: BoundName): void {
    this.#overloadRefusals.inc({ bound });
  }

  /** @param server `HOST:PORT`. */
  serverKnown(server: string): void {
    this.#ejections.inc({ server }, 0);
  }

  ejection(server: string): void {
    this.#ejections.inc({ server });
  }

  retry(reason: 'nowhere' | 'unanswered' | 'stale'): void {
    this.#retries.inc({ reason });
  }

  connectionFailed(stage: EntranceFailure['stage'], reason: EntranceFailure['reason']): void {
    this.#failedConnections.inc({ stage, reason });
  }

  reloaded(success: boolean): void {
    this.#reloadSuccess.set(success ? 1 : 0);
  }
}

/** An upstream may answer with any of 900 statuses; their five classes are few enough for a label. */
function statusClass(status: number): string {
  return `${Math.floor(status / 100)}xx`;
}
