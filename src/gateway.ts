import { performance } from 'node:perf_hooks';
import { isDeepStrictEqual } from 'node:util';
import { Metrics } from './admin/metrics.ts';
import { AdminServer } from './admin/server.ts';
import { Admission } from './admission.ts';
import { limitsStored } from './charges.ts';
import type { Config, ListenAddress } from './config/config.ts';
import { GatewayError } from './core/errors.ts';
import { exchange, recordRefusal, type Services } from './exchange.ts';
import { upstreamOf } from './forward.ts';
import { Health } from './health.ts';
import type { Fetched } from './http/ask.ts';
import { ConnectionLimit } from './http/connection-limit.ts';
import { Listener } from './http/listener.ts';
import { Networks } from './http/networks.ts';
import { Passthrough } from './http/passthrough.ts';
import { Upgrades } from './http/upgrade.ts';
import { Cloud } from './identity/cloud.ts';
import type { ServiceAccount } from './identity/service-account.ts';
import { ImageLookup, type Operator } from './image-lookup.ts';
import { Imports, ImportWatches } from './imports.ts';
import { StreamLane } from './lanes/stream.ts';
import { MemoryLedger } from './ledger/memory.ts';
import { KeystoneLimits } from './limits/keystone-limits.ts';
import { fileOnly, type LimitsSource } from './limits/limits.ts';
import { RememberedLimits } from './limits/remembered.ts';
import { GlanceUsageLimits } from './limits/usage-limits.ts';
import type { Log } from './log.ts';
import { Orphans } from './orphans.ts';
import { Payers } from './payer.ts';
import { RateLimits } from './rate-limits.ts';
import { Registry } from './registry.ts';
import { Resolution } from './resolution.ts';
import { tunnel } from './tunnel.ts';
import { GlanceUsage } from './usage/glance.ts';
import { KnownImages } from './usage/known-images.ts';
import { Readings } from './usage/readings.ts';
import type { Caller } from './usage/usage.ts';

/** How long a request of the gateway's own to the API may take: a list, an image's status. */
const askTimeoutMs = 30_000;

/** How long an answer under way may take to arrive when everything else is over. */
const lastAnswersMs = 1_000;

/** Everything that runs, put together from a configuration. */
export class Gateway {
  readonly #log: Log;
  readonly #ledger = new MemoryLedger(() => performance.now());
  readonly #registry = new Registry();
  readonly #knownImages = new KnownImages();
  readonly #resolution: Resolution;
  readonly #importWatches: ImportWatches;
  readonly #metrics: Metrics;
  readonly #listeners: Listener[];
  readonly #admin: AdminServer;
  #cloud: Cloud;
  #services: Services;
  #orphans: Orphans;
  #rateLimits: RateLimits | null = null;
  #upgrades: Upgrades;
  #health: Health;
  #draining = false;
  /** Where clients and operators are served, with the ports that port 0 became. */
  addresses: { listen: ListenAddress[]; admin: ListenAddress } | null = null;

  constructor(config: Config, log: Log, version: string) {
    this.#log = log;
    this.#resolution = new Resolution(log);
    this.#importWatches = new ImportWatches(log);
    this.#metrics = new Metrics(
      {
        savingBytes: () => this.#ledger.savingBytes(),
        uploadsInFlight: () => this.#registry.size,
        uploadsUnresolved: () => this.#resolution.size,
        importsWatched: () => this.#importWatches.size,
        connections: () => this.#listeners.reduce((sum, { connections }) => sum + connections, 0),
        upstreamHealthy: () => this.#health.healthy,
        orphans: () => this.#orphans.report.orphans.length,
      },
      version,
    );
    this.#cloud = this.#newCloud(config);
    ({ services: this.#services, orphans: this.#orphans } = this.#assemble(config));
    this.#health = new Health(this.#services.passthrough, config, log);
    this.#upgrades = this.#upgradesTo(config);
    const takesUpgrades = config.api.routes.some(({ upgrade }) => upgrade === true);
    const connectionLimit = new ConnectionLimit(config.maxConnections);
    this.#listeners = config.listen.map(
      () =>
        new Listener(config, takesUpgrades, connectionLimit, {
          request: (client) => void exchange(this.#services, client),
          upgrade: (asked) => void tunnel(this.#services, this.#upgrades, asked),
          refused: (refusal) => recordRefusal(this.#services, refusal),
          dropped: () => this.#metrics.connectionDropped(),
        }),
    );
    this.#admin = new AdminServer({
      registry: this.#registry,
      metrics: this.#metrics,
      savingBytes: () => this.#ledger.savingBytes(),
      orphans: () => this.#orphans.report,
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
    this.#orphans.start();
  }

  /**
   * New requests go by the new configuration, running ones by the one they began with. Addresses of
   * listeners are kept: another address needs a restart.
   */
  async reload(config: Config): Promise<void> {
    const { config: before, passthrough } = this.#services;
    const cloudBefore = this.#cloud;
    // what is known of tokens is worth keeping: a reload must not send every client's token to Keystone at once
    const sameCloud = isDeepStrictEqual(config.identity, before.identity);
    if (!sameCloud) this.#cloud = this.#newCloud(config);
    this.#orphans.stop();
    ({ services: this.#services, orphans: this.#orphans } = this.#assemble({
      ...config,
      listen: before.listen,
      admin: before.admin,
    }));
    this.#orphans.start();
    if (!sameCloud) void cloudBefore.close().catch(() => {});
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
          setTimeout(() => this.#destroyClients(), lastAnswersMs).unref();
        });
      }, shutdownGraceMs);
    }
    await closed;
    clearTimeout(timer);
    await this.#release();
  }

  /** Ends everything at once; whoever is to be told of it is told. */
  async stopNow(): Promise<void> {
    this.#draining = true;
    const reason = new GatewayError('shutting-down', 'The gateway is stopped.', { ending: 'shutting-down' });
    const ended = this.#registry.cancelAll(reason);
    const closed = this.#listeners.map((listener) => listener.close());
    await ended;
    await Promise.all(this.#listeners.map((listener) => listener.settled(lastAnswersMs)));
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
    this.#orphans.stop();
    this.#resolution.stop();
    this.#importWatches.stop();
    await this.#admin.close().catch(() => {});
    await Promise.all([this.#services.passthrough.destroy(), this.#cloud.destroy()]);
  }

  #newCloud({ identity }: Config): Cloud {
    return new Cloud(identity, (outcome) => this.#metrics.identityCheck(outcome));
  }

  #assemble(config: Config): { services: Services; orphans: Orphans } {
    const passthrough = new Passthrough({
      origin: upstreamOf(config),
      connectTimeoutMs: config.upstream.connectTimeoutMs,
      responseTimeoutMs: config.upstream.responseTimeoutMs,
      idleTimeoutMs: config.upstream.idleTimeoutMs,
    });
    const ask = (target: string, { headers }: Caller) =>
      passthrough.fetch('GET', target, askHeaders(headers), askTimeoutMs);
    const readings =
      config.quota.usage.source === 'none'
        ? null
        : new Readings(new GlanceUsage(ask, this.#knownImages), this.#ledger, (outcome) =>
            this.#metrics.usageReading(outcome),
          );
    const { identity, account } = this.#cloud;
    const operator = account === null ? null : operatorOf(account, upstreamOf(config).host);
    const lookup = new ImageLookup(config.api.status, ask, operator);
    const payers = new Payers(lookup, {
      limitsStored: readings !== null && limitsStored(config.quota),
      knowsProjects: identity.knowsProjects,
      adminRoles: config.identity.adminRoles,
    });
    this.#rateLimits = new RateLimits(
      config.rateLimits,
      ({ action, per }) => this.#metrics.rateRefusal(action, per),
      this.#rateLimits,
    );
    const admission = new Admission(this.#ledger, readings, this.#limitsOf(config, ask), {
      refused: ({ account, limit, requested, remaining }, mode) => {
        this.#metrics.quotaRefusal(limit, mode);
        this.#log.info({ account, limit, requested, remaining, mode }, 'limit met');
      },
      operation: (operation, outcome) => this.#metrics.ledgerOperation(operation, outcome),
    });
    const services: Services = {
      config,
      identity,
      payers,
      trustedProxies: new Networks(config.trustedProxies),
      rateLimits: this.#rateLimits,
      admission,
      imports: new Imports(ask, lookup, admission, this.#knownImages, this.#importWatches),
      lane: new StreamLane(),
      registry: this.#registry,
      passthrough,
      lookup,
      knownImages: this.#knownImages,
      resolution: this.#resolution,
      metrics: this.#metrics,
      log: this.#log,
    };
    return { services, orphans: new Orphans(ask, operator, this.#registry, config.orphans, this.#log) };
  }

  #limitsOf({ quota }: Config, ask: (target: string, caller: Caller) => Promise<Fetched>): LimitsSource {
    const { source, ttlMs, region } = quota.cloudLimits;
    if (source === 'none') return fileOnly;
    const { api, account } = this.#cloud;
    if (source === 'keystone' && account === null)
      throw new Error('limits of Keystone without a service account');
    const limits =
      source === 'keystone' && account !== null
        ? new KeystoneLimits(api, account, region)
        : new GlanceUsageLimits(ask);
    return new RememberedLimits(limits, ttlMs, () => performance.now());
  }

  #upgradesTo(config: Config): Upgrades {
    const { responseTimeoutMs } = config.upstream;
    return new Upgrades({ origin: upstreamOf(config), responseTimeoutMs });
  }
}

/** The service account as the API sees it. */
function operatorOf(account: ServiceAccount, host: string): Operator {
  return {
    caller: async () => ({ headers: ['Host', host, 'X-Auth-Token', await account.secret()], project: null }),
    seesEverything: () => account.seesEverything(),
  };
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
