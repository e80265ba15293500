import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { isDeepStrictEqual } from 'node:util';
import { LRUCache } from 'lru-cache';
import { Metrics } from './admin/metrics.ts';
import { AdminServer } from './admin/server.ts';
import { Admission } from './admission.ts';
import { limitsStored } from './charges.ts';
import { certificateWarnings, shownCertificates } from './config/certificate.ts';
import type { Config, ListenAddress, ListenerConfig } from './config/config.ts';
import { writeAddress } from './config/scalars.ts';
import { GatewayError } from './core/errors.ts';
import { questionHeaders } from './core/question-headers.ts';
import { exchange, recordRefusal, type Services } from './exchange.ts';
import { HealthChecks } from './health.ts';
import type { Fetched } from './http/ask.ts';
import type { Client } from './http/client.ts';
import { ConnectionPool, type ConnectionPoolOptions } from './http/connection-pool.ts';
import type { EntranceFailure } from './http/entrance.ts';
import { Listener } from './http/listener.ts';
import { Networks } from './http/networks.ts';
import { Cloud } from './identity/cloud.ts';
import type { ServiceAccount } from './identity/service-account.ts';
import { ImageAccess } from './image-access.ts';
import { ImageLookup, type Operator } from './image-lookup.ts';
import { Imports, ImportWatches } from './imports.ts';
import { type StartEngine, sharedEngine } from './lanes/kernel/shared-engine.ts';
import { LaneChoice } from './lanes/lane-choice.ts';
import { MemoryLedger } from './ledger/memory.ts';
import { KeystoneLimits } from './limits/keystone-limits.ts';
import { fileOnly, type LimitsSource } from './limits/limits.ts';
import { RememberedLimits } from './limits/remembered.ts';
import { GlanceUsageLimits } from './limits/usage-limits.ts';
import type { Log } from './log.ts';
import { Orphans } from './orphans.ts';
import { Overload } from './overload.ts';
import { Payers } from './payer.ts';
import { RateLimits } from './rate-limits.ts';
import { Registry } from './registry.ts';
import { Resolution } from './resolution.ts';
import { Shared } from './shared.ts';
import { tunnel } from './tunnel.ts';
import { UnderWay } from './under-way.ts';
import { UpstreamServer } from './upstream-server.ts';
import { Upstreams } from './upstreams.ts';
import { GlanceUsage } from './usage/glance.ts';
import { KnownImages } from './usage/known-images.ts';
import { Readings } from './usage/readings.ts';
import type { Caller } from './usage/usage.ts';

/** How long a request of the gateway's own to the API may take: a list, an image's status. */
const askTimeoutMs = 30_000;

/** How often a drain says what it waits for. */
const drainReportMs = 10_000;

/** How long an answer under way may take to arrive when everything else is over. */
const lastAnswersMs = 1_000;

/** Of how many images it is remembered where they were staged. */
const stagedRemembered = 10_000;

/** A server of the configuration in force, and the connections to it. */
interface OpenServer {
  readonly server: UpstreamServer;
  readonly options: ConnectionPoolOptions;
  readonly pool: Shared<ConnectionPool>;
}

/** Everything that runs, put together from a configuration. */
export class Gateway {
  readonly #log: Log;
  readonly #version: string;
  readonly #pseudonym = `sluice-${randomBytes(8).toString('hex')}`;
  readonly #ledger = new MemoryLedger(() => performance.now());
  readonly #registry = new Registry();
  readonly #knownImages = new KnownImages();
  readonly #resolution: Resolution;
  readonly #importWatches: ImportWatches;
  readonly #imageAccess = new ImageAccess();
  readonly #metrics: Metrics;
  readonly #overload: Overload;
  readonly #exchanges = new UnderWay();
  readonly #lanes: LaneChoice;
  readonly #listeners: Listener[];
  readonly #admin: AdminServer;
  /** Every pool of connections that is not closed yet, those of earlier configurations included. */
  readonly #open = new Set<ConnectionPool | Cloud>();
  /** In the order of the configuration. */
  #servers: readonly OpenServer[];
  readonly #staged = new LRUCache<string, string>({ max: stagedRemembered });
  #cloud: Shared<Cloud>;
  /** Keeps open what the configuration in force asks through. */
  #hold: () => () => void;
  /** Lets go of it, for the configuration that comes next. */
  #letGo: () => void;
  #services: Services;
  #orphans: Orphans;
  #rateLimits: RateLimits | null = null;
  #checks: HealthChecks;
  #draining = false;
  /** Where clients and operators are served, with the ports that port 0 became. */
  addresses: { listen: ListenAddress[]; admin: ListenAddress } | null = null;

  /** @param startEngine of the splice lane; that of the process if left out. */
  constructor(config: Config, log: Log, version: string, startEngine: StartEngine = sharedEngine) {
    this.#log = log;
    this.#version = version;
    this.#resolution = new Resolution(log);
    this.#importWatches = new ImportWatches(log);
    this.#lanes = new LaneChoice(
      {
        unavailable: (reason) => log.info({ reason }, 'bodies are streamed: no splice lane here'),
        died: (reason) => log.error({ reason }, 'splice lane lost, bodies are streamed from now on'),
      },
      startEngine,
    );
    this.#overload = new Overload(
      config,
      (bound) => this.#metrics.overloadRefusal(bound),
      () => this.#lanes.heldBytes,
    );
    this.#metrics = new Metrics(
      {
        savingBytes: () => this.#ledger.savingBytes(),
        uploadsInFlight: () => this.#registry.size,
        uploadsUnresolved: () => this.#resolution.size,
        importsWatched: () => this.#importWatches.size,
        connections: () => this.#connections(),
        bufferedBytes: () => this.#overload.buffered.held,
        mostConnections: () => this.#overload.connections.most,
        mostUploads: () => this.#overload.uploads.most,
        mostBufferedBytes: () => this.#overload.buffered.most,
        servers: () => this.#services.upstreams.members.map(({ server }) => server),
        spliceLaneUp: () => (this.#lanes.splices ? 1 : 0),
        orphans: () => this.#orphans.report.orphans.length,
        certificates: () => shownCertificates(this.#services.config),
      },
      version,
    );
    this.#servers = this.#serversOf(config, []);
    this.#cloud = this.#newCloud(config);
    this.#hold = holdAll([...this.#servers.map(({ pool }) => pool), this.#cloud]);
    this.#letGo = this.#hold();
    ({ services: this.#services, orphans: this.#orphans } = this.#assemble(config));
    this.#checks = new HealthChecks(this.#services.upstreams.members, config.upstream.health);
    this.#listeners = config.listen.map(
      (listens) =>
        new Listener(config, listens, takesUpgrades(config), this.#overload, {
          request: (client) => void this.#exchange(client),
          upgrade: (asked) => void tunnel(this.#services, asked),
          refused: (refusal) => recordRefusal(this.#services, refusal),
          failed: (failure) => this.#connectionFailed(failure),
        }),
    );
    this.#admin = new AdminServer({
      metrics: this.#metrics,
      uploads: () => [...this.#registry.list(), ...this.#resolution.rows(), ...this.#importWatches.rows()],
      cancel: (id) => this.#cancel(id),
      savingBytes: () => this.#ledger.savingBytes(),
      orphans: () => this.#orphans.report,
      notReady: () =>
        this.#draining
          ? 'shutting down'
          : this.#services.upstreams.healthy
            ? null
            : 'the upstream is unhealthy',
    });
  }

  /**
   * Resolves when clients and operators are served; whether the upstream is well shows a little later, in readiness.
   * Rejects when an address cannot be bound; nothing is left listening then.
   */
  async start(): Promise<void> {
    const { config } = this.#services;
    this.#lanes.mostHeldBytes = config.maxBufferedBytes;
    try {
      await this.#lanes.start(config.upload.lane);
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
    const { listen, admin } = this.addresses;
    const version = this.#version;
    this.#log.info({ listen: listen.map(writeAddress), admin: writeAddress(admin), version }, 'serving');
    this.#checks.start();
    this.#orphans.start();
    this.#warnOfCertificates();
  }

  /**
   * New requests go by the new configuration, running ones by the one they began with, and so does what outlives its
   * request: outcomes nobody knows, imports. What they ask through stays open until the last of them is done.
   * The level of the log is its owner's to set.
   * @returns the keys that have another value than the one in force, and keep that until a restart.
   */
  reload(config: Config): { readonly needRestart: readonly string[] } {
    const { config: before } = this.#services;
    const listen = before.listen.map((each, i) => {
      const isSame = ({ address }: ListenerConfig): boolean => isDeepStrictEqual(address, each.address);
      // port 0 may stand twice
      return config.listen.slice(i, i + 1).find(isSame) ?? config.listen.find(isSame) ?? each;
    });
    const needRestart = [
      ...(isDeepStrictEqual(listen, config.listen) ? [] : ['listen']),
      ...(isDeepStrictEqual(config.admin, before.admin) ? [] : ['admin']),
    ];
    const letGo = this.#letGo;
    this.#checks.stop();
    this.#servers = this.#serversOf(config, this.#servers);
    // what is known of tokens is worth keeping: a reload must not send every client's token to Keystone at once
    const sameCloud = isDeepStrictEqual(config.identity, before.identity);
    if (!sameCloud) this.#cloud = this.#newCloud(config);
    this.#hold = holdAll([...this.#servers.map(({ pool }) => pool), this.#cloud]);
    this.#letGo = this.#hold();
    this.#orphans.stop();
    ({ services: this.#services, orphans: this.#orphans } = this.#assemble({
      ...config,
      listen,
      admin: before.admin,
    }));
    this.#orphans.start();
    this.#overload.reconfigure(config);
    this.#lanes.mostHeldBytes = config.maxBufferedBytes;
    // whether there is one was looked at before the configuration was accepted
    void this.#lanes
      .start(config.upload.lane)
      .catch((err: unknown) => this.#log.error({ err }, 'no splice lane'));
    this.#checks = new HealthChecks(this.#services.upstreams.members, config.upstream.health);
    this.#checks.start();
    for (const [i, listener] of this.#listeners.entries()) {
      const listens = listen[i];
      if (listens !== undefined) listener.reconfigure(config, listens);
      listener.takeUpgrades(takesUpgrades(config));
    }
    letGo();
    this.#warnOfCertificates();
    this.#metrics.reloaded(true);
    return { needRestart };
  }

  reloadFailed(): void {
    this.#metrics.reloaded(false);
  }

  /**
   * Takes no new request, lets running uploads finish for `shutdown_grace`, then ends them; says what it waits for. A change
   * whose client has left is waited for as well: until the API has answered nobody knows what became of it.
   */
  async drain(): Promise<void> {
    const { shutdownGraceMs } = this.#services.config;
    const endMs = performance.now() + shutdownGraceMs;
    this.#draining = true;
    const sayWhatIsLeft = (): void => {
      const leftSeconds = Math.max(0, Math.ceil((endMs - performance.now()) / 1000));
      this.#log.info(
        {
          ...this.#registry.left(),
          requests: this.#exchanges.count,
          connections: this.#connections(),
          grace_seconds: shutdownGraceMs === 0 ? null : leftSeconds,
        },
        'draining',
      );
    };
    sayWhatIsLeft();
    const saying = setInterval(sayWhatIsLeft, drainReportMs);
    const closed = Promise.all(this.#listeners.map((listener) => listener.close()));
    let giveUp = (): void => {};
    const givenUp = new Promise<void>((resolve) => {
      giveUp = resolve;
    });
    let timer: NodeJS.Timeout | undefined;
    if (shutdownGraceMs > 0) {
      timer = setTimeout(() => {
        const detail = 'The gateway is shutting down and the time for running uploads is over.';
        const reason = new GatewayError('shutting-down', detail, { ending: 'shutting-down' });
        void this.#registry.cancelAll(reason).then(() => {
          // whoever is not done by now downloads, or reads an answer slowly
          setTimeout(() => {
            this.#destroyClients();
            setImmediate(giveUp);
          }, lastAnswersMs).unref();
        });
      }, shutdownGraceMs);
    }
    await closed;
    await Promise.race([this.#exchanges.over(), givenUp]);
    clearTimeout(timer);
    clearInterval(saying);
    this.#sayDrained();
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

  /** What is in the memory of this process only is lost with it. */
  #sayDrained(): void {
    const left = {
      requests: this.#exchanges.count,
      uploads_unresolved: this.#resolution.size,
      imports_watched: this.#importWatches.size,
    };
    const lost = Object.values(left).some((count) => count > 0);
    this.#log[lost ? 'warn' : 'info'](left, 'drained');
  }

  #connectionFailed({ stage, reason, peerAddress, detail }: EntranceFailure): void {
    this.#metrics.connectionFailed(stage, reason);
    // a check of a balancer's, every few seconds, that connects and closes
    const level = reason === 'client-gone' ? 'debug' : 'info';
    this.#log[level]({ client: peerAddress, stage, reason, detail }, 'connection failed');
  }

  #warnOfCertificates(): void {
    for (const warning of certificateWarnings(this.#services.config, Date.now())) this.#log.warn(warning);
  }

  #connections(): number {
    return this.#listeners.reduce((sum, { connections }) => sum + connections, 0);
  }

  #destroyClients(): void {
    for (const listener of this.#listeners) listener.destroy();
  }

  async #release(): Promise<void> {
    this.#checks.stop();
    this.#orphans.stop();
    this.#resolution.stop();
    this.#importWatches.stop();
    this.#lanes.stop();
    await this.#admin.close().catch(() => {});
    await Promise.all([...this.#open].map((each) => each.destroy()));
  }

  async #cancel(id: string): Promise<boolean> {
    const upload = this.#registry.get(id);
    if (upload === undefined)
      return (await this.#resolution.giveUp(id)) || (await this.#importWatches.giveUp(id));
    upload.abort(new GatewayError('cancelled', 'An operator ended the upload.', { ending: 'cancelled' }));
    await upload.ended;
    return true;
  }

  async #exchange(client: Client): Promise<void> {
    const services = this.#services;
    const letGo = this.#hold();
    const end = this.#exchanges.begin();
    try {
      await exchange(services, client);
    } finally {
      end();
      letGo();
    }
  }

  /** A server that was there before is the same one: as well as it was, with what it has under way and its connections. */
  #serversOf({ upstream }: Config, before: readonly OpenServer[]): readonly OpenServer[] {
    const { connectTimeoutMs, responseTimeoutMs, idleTimeoutMs, health } = upstream;
    return upstream.servers.map((origin) => {
      const known = before.find(({ server }) => server.origin.href === origin.href);
      const options = { origin, connectTimeoutMs, responseTimeoutMs, idleTimeoutMs };
      const server = known?.server ?? this.#newServer(origin, health.intervalMs > 0);
      if (known !== undefined && isDeepStrictEqual(known.options, options)) return known;
      const pool = this.#opened(new ConnectionPool(options, () => this.#metrics.retry('stale')));
      return { server, options, pool };
    });
  }

  #newServer(origin: URL, watched: boolean): UpstreamServer {
    this.#metrics.serverKnown(origin.host);
    return new UpstreamServer(origin, watched, (change) => {
      const good = change === 'healthy' || change === 'returned';
      this.#log[good ? 'info' : 'warn']({ upstream: origin.host }, `upstream ${change}`);
      if (change === 'ejected') this.#metrics.ejection(origin.host);
    });
  }

  #newCloud({ identity }: Config): Shared<Cloud> {
    return this.#opened(new Cloud(identity, (outcome) => this.#metrics.identityCheck(outcome)));
  }

  #opened<T extends ConnectionPool | Cloud>(opened: T): Shared<T> {
    this.#open.add(opened);
    return new Shared(opened, async () => {
      await Promise.resolve(opened.close()).catch(() => {});
      this.#open.delete(opened);
    });
  }

  #assemble(config: Config): { services: Services; orphans: Orphans } {
    const { ejectAfter, ejectMs } = config.upstream.health;
    const upstreams = new Upstreams(
      this.#servers.map(({ server, pool }) => ({ server, pool: pool.value })),
      {
        ejection: { ejectAfter, ejectMs },
        staged: this.#staged,
        retried: (reason) => this.#metrics.retry(reason),
      },
    );
    const ask = (target: string, { headers }: Caller) =>
      upstreams.fetch('GET', target, questionHeaders(headers, config.api.sizeHeader), askTimeoutMs);
    const readings =
      config.quota.usage.source === 'none'
        ? null
        : new Readings(new GlanceUsage(ask, this.#knownImages), this.#ledger, (outcome) =>
            this.#metrics.usageReading(outcome),
          );
    const { identity, account } = this.#cloud.value;
    const operator = account === null ? null : operatorOf(account, upstreams.host);
    const lookup = new ImageLookup(config.api.status, ask, operator, this.#hold);
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
      pseudonym: this.#pseudonym,
      identity,
      payers,
      imageAccess: this.#imageAccess,
      trustedProxies: new Networks(config.trustedProxies),
      rateLimits: this.#rateLimits,
      admission,
      imports: new Imports(ask, lookup, admission, this.#knownImages, this.#importWatches, this.#imageAccess),
      lanes: this.#lanes,
      overload: this.#overload,
      registry: this.#registry,
      upstreams,
      lookup,
      operator,
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
    const { api, account } = this.#cloud.value;
    if (source === 'keystone' && account === null)
      throw new Error('limits of Keystone without a service account');
    const limits =
      source === 'keystone' && account !== null
        ? new KeystoneLimits(api, account, region)
        : new GlanceUsageLimits(ask);
    return new RememberedLimits(limits, ttlMs, () => performance.now());
  }
}

const takesUpgrades = ({ api }: Config): boolean => api.routes.some(({ upgrade }) => upgrade === true);

function holdAll(shared: readonly Pick<Shared<unknown>, 'hold'>[]): () => () => void {
  return () => {
    const held = shared.map((each) => each.hold());
    return () => {
      for (const letGo of held) letGo();
    };
  };
}

/** The service account as the API sees it. */
function operatorOf(account: ServiceAccount, host: string): Operator {
  return {
    caller: async () => ({ headers: ['Host', host, 'X-Auth-Token', await account.secret()], project: null }),
    seesEverything: () => account.seesEverything(),
  };
}
