import type { IncomingMessage } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import { Metrics } from './admin/metrics.ts';
import { AdminServer } from './admin/server.ts';
import { Admission } from './admission.ts';
import type { Config, ListenAddress } from './config/config.ts';
import { GatewayError } from './core/errors.ts';
import { checkHeaders, joinedHeader, requestHeaders } from './core/headers.ts';
import { classify } from './core/operation.ts';
import { exchange, type Services } from './exchange.ts';
import { asGatewayError, upstreamOf } from './forward.ts';
import { Health } from './health.ts';
import { type Client, peerAddress } from './http/client.ts';
import { Listener } from './http/listener.ts';
import { Networks } from './http/networks.ts';
import { Passthrough } from './http/passthrough.ts';
import { refuseUpgrade, Upgrades } from './http/upgrade.ts';
import { AnonymousIdentity } from './identity/anonymous.ts';
import { HeaderIdentity } from './identity/headers.ts';
import { StreamLane } from './lanes/stream.ts';
import { MemoryLedger } from './ledger/memory.ts';
import type { Log } from './log.ts';
import { RateLimits } from './rate-limits.ts';
import { Registry } from './registry.ts';
import { ImageLookup, Resolution } from './resolution.ts';
import { GlanceUsage } from './usage/glance.ts';
import { Readings } from './usage/readings.ts';
import type { Caller } from './usage/usage.ts';

/** How long a request of the gateway's own to the API may take: a list, an image's status. */
const askTimeoutMs = 30_000;

/** Everything that runs, put together from a configuration. */
export class Gateway {
  readonly #log: Log;
  readonly #ledger = new MemoryLedger(() => performance.now());
  readonly #registry = new Registry();
  readonly #resolution: Resolution;
  readonly #metrics: Metrics;
  readonly #listeners: Listener[];
  readonly #admin: AdminServer;
  #services: Services;
  #rateLimits: RateLimits | null = null;
  #upgrades: Upgrades;
  #health: Health;
  #draining = false;
  /** Where clients and operators are served, with the ports that port 0 became. */
  addresses: { listen: ListenAddress[]; admin: ListenAddress } | null = null;

  constructor(config: Config, log: Log, version: string) {
    this.#log = log;
    this.#resolution = new Resolution(log);
    this.#metrics = new Metrics(
      {
        savingBytes: () => this.#ledger.savingBytes(),
        uploadsInFlight: () => this.#registry.size,
        uploadsUnresolved: () => this.#resolution.size,
        connections: () => this.#listeners.reduce((sum, { connections }) => sum + connections, 0),
        upstreamHealthy: () => this.#health.healthy,
      },
      version,
    );
    this.#services = this.#assemble(config);
    this.#health = new Health(this.#services.passthrough, config, log);
    this.#upgrades = this.#upgradesTo(config);
    const takesUpgrades = config.api.routes.some(({ upgrade }) => upgrade === true);
    this.#listeners = config.listen.map(
      () =>
        new Listener(config, takesUpgrades, {
          request: (client: Client) => void exchange(this.#services, client),
          upgrade: (request, socket, head) => this.#upgrade(request, socket, head),
          dropped: () => this.#metrics.connectionDropped(),
        }),
    );
    this.#admin = new AdminServer({
      registry: this.#registry,
      metrics: this.#metrics,
      savingBytes: () => this.#ledger.savingBytes(),
      notReady: () =>
        this.#draining ? 'shutting down' : this.#health.healthy ? null : 'the upstream is unhealthy',
    });
  }

  /** Rejects when an address cannot be bound; nothing is left listening then. */
  async start(): Promise<void> {
    const { config } = this.#services;
    try {
      const admin = await this.#admin.listen(config.admin.address);
      const listen: ListenAddress[] = [];
      for (const [i, { address }] of config.listen.entries()) {
        const listener = this.#listeners[i];
        if (listener !== undefined) listen.push(await listener.listen(address));
      }
      this.addresses = { listen, admin };
    } catch (error) {
      await this.stopNow();
      throw error;
    }
    await this.#health.start();
  }

  /**
   * New requests go by the new configuration, running ones by the one they began with. Addresses of
   * listeners are kept: another address needs a restart.
   */
  async reload(config: Config): Promise<void> {
    const { config: before, passthrough } = this.#services;
    this.#services = this.#assemble({ ...config, listen: before.listen, admin: before.admin });
    this.#upgrades = this.#upgradesTo(config);
    for (const listener of this.#listeners) listener.reconfigure(config);
    this.#health.stop();
    this.#health = new Health(this.#services.passthrough, config, this.#log);
    this.#metrics.reloaded(true);
    void passthrough.close().catch(() => {});
    await this.#health.start();
  }

  reloadFailed(): void {
    this.#metrics.reloaded(false);
  }

  /** Takes no new request, lets running uploads finish for `shutdown_grace`, then ends them. */
  async drain(): Promise<void> {
    const { shutdownGraceMs } = this.#services.config;
    this.#draining = true;
    this.#log.info({ uploads: this.#registry.size, grace_seconds: shutdownGraceMs / 1000 }, 'draining');
    const closed = Promise.all(this.#listeners.map((listener) => listener.close()));
    let timer: NodeJS.Timeout | undefined;
    if (shutdownGraceMs > 0) {
      timer = setTimeout(() => {
        const detail = 'The gateway is shutting down and the time for running uploads is over.';
        const reason = new GatewayError('shutting-down', detail, { ending: 'shutting-down' });
        void this.#registry.cancelAll(reason).then(() => {
          // whoever is not done by now downloads, or reads an answer slowly
          setTimeout(() => this.#destroyClients(), 1_000).unref();
        });
      }, shutdownGraceMs);
    }
    await closed;
    clearTimeout(timer);
    await this.#release();
  }

  /** Ends everything at once. */
  async stopNow(): Promise<void> {
    this.#draining = true;
    const reason = new GatewayError('shutting-down', 'The gateway is stopped.', { ending: 'shutting-down' });
    const ended = this.#registry.cancelAll(reason);
    const closed = this.#listeners.map((listener) => listener.close());
    await ended;
    this.#destroyClients();
    await Promise.all(closed);
    await this.#release();
  }

  /** For whoever has to know what is counted now. */
  get savingBytes(): number {
    return this.#ledger.savingBytes();
  }

  get uploadsUnderWay(): number {
    return this.#registry.size;
  }

  #destroyClients(): void {
    for (const listener of this.#listeners) listener.destroy();
  }

  async #release(): Promise<void> {
    this.#health.stop();
    this.#resolution.stop();
    await this.#admin.close().catch(() => {});
    await this.#services.passthrough.destroy();
  }

  #assemble(config: Config): Services {
    const passthrough = new Passthrough({
      origin: upstreamOf(config),
      connectTimeoutMs: config.upstream.connectTimeoutMs,
      responseTimeoutMs: config.upstream.responseTimeoutMs,
      idleTimeoutMs: config.upstream.idleTimeoutMs,
    });
    const ask = (target: string, { headers }: Caller) =>
      passthrough.fetch('GET', target, askHeaders(headers), askTimeoutMs);
    const { source, headers } = config.identity;
    const readings =
      config.quota.usage.source === 'none'
        ? null
        : new Readings(new GlanceUsage(ask), this.#ledger, (outcome) => this.#metrics.usageReading(outcome));
    this.#rateLimits = new RateLimits(
      config.rateLimits,
      ({ action, per }) => this.#metrics.rateRefusal(action, per),
      this.#rateLimits,
    );
    return {
      config,
      identity: source === 'none' ? new AnonymousIdentity() : new HeaderIdentity(headers),
      trustedProxies: new Networks(config.trustedProxies),
      rateLimits: this.#rateLimits,
      admission: new Admission(this.#ledger, readings, {
        refused: ({ account, limit, requested, remaining }, mode) => {
          this.#metrics.quotaRefusal(limit, mode);
          this.#log.info({ account, limit, requested, remaining, mode }, 'limit met');
        },
        operation: (operation, outcome) => this.#metrics.ledgerOperation(operation, outcome),
      }),
      lane: new StreamLane(),
      registry: this.#registry,
      passthrough,
      lookup: new ImageLookup(config.api.status, ask),
      resolution: this.#resolution,
      metrics: this.#metrics,
      log: this.#log,
    };
  }

  #upgradesTo(config: Config): Upgrades {
    return new Upgrades(upstreamOf(config), (err) => this.#log.warn({ err }, 'upgrade failed'));
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { config, identity } = this.#services;
    try {
      const raw = request.rawHeaders;
      checkHeaders(raw, request.httpVersion);
      const method = request.method ?? '';
      const { upgrade, target } = classify(config.api, {
        method,
        target: request.url ?? '',
        accept: joinedHeader(raw, 'accept'),
      });
      if (!upgrade) throw new GatewayError('upgrade-refused', 'The route takes HTTP/1.1 only.');
      // all that http-proxy carries; anything else it would cut off without a word
      if (method !== 'GET' || request.headers.upgrade?.toLowerCase() !== 'websocket') {
        throw new GatewayError(
          'upgrade-refused',
          'The one protocol that a route may allow is websocket, asked with GET.',
        );
      }
      const headers = requestHeaders(raw, {
        method,
        trustIdentity: identity.trusts(peerAddress(request.socket)),
        identityNames: identity.headerNames,
        sizeHeader: config.api.sizeHeader,
      });
      this.#upgrades.pass(request, socket, head, target, headers);
    } catch (error) {
      refuseUpgrade(socket, asGatewayError(error));
    }
  }
}

/** Headers by which a request about a body says something that is not true of a question about images. */
const ofTheBody = new Set([
  'content-type',
  'content-encoding',
  'content-md5',
  'x-image-meta-store',
  'accept',
]);

/** The caller's credentials and address, for a question of the gateway's own. */
function askHeaders(headers: readonly string[]): string[] {
  const kept: string[] = ['Accept', 'application/json'];
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? '';
    if (!ofTheBody.has(name.toLowerCase())) kept.push(name, headers[i + 1] ?? '');
  }
  return kept;
}
