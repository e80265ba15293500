import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { basename, join } from 'node:path';
import { stringify } from 'yaml';
import { z } from 'zod';
import { eventually } from '../../support/eventually.ts';
import { publish, secret } from './secrets.ts';
import { direct, glanceOrigin, keystoneUrl, servicePassword, stackDirectory } from './stack.ts';

const uploadsView = z.object({
  uploads: z.array(
    z.object({
      id: z.string(),
      image: z.string(),
      owner: z.object({ user: z.string().nullable(), project: z.string().nullable() }),
      declared_bytes: z.number().nullable(),
      received_bytes: z.number(),
      sent_bytes: z.number(),
      reserved_bytes: z.number(),
    }),
  ),
  saving_bytes: z.number(),
});
export type UploadsView = z.infer<typeof uploadsView>;
export type UploadView = UploadsView['uploads'][number];

const orphansView = z.object({
  orphans: z.array(z.object({ image: z.string(), owner: z.string().nullable(), since: z.string() })),
  scanned_at: z.string().nullable(),
  problem: z.string().nullable(),
});
export type OrphansView = z.infer<typeof orphansView>;

export interface GatewaySettings {
  /** Default: Glance. */
  readonly upstream?: string;
  /** `keystone` (default) asks whose a token is; `headers` believes X-User-Id and X-Project-Id; `none`: all are one owner. */
  readonly identity?: 'keystone' | 'headers' | 'none';
  /** Beside `keystone`: how long a token is believed and how long Keystone may take. */
  readonly keystone?: { readonly cache_ttl?: string; readonly timeout?: string };
  /** True gives the gateway an account of its own, with the role admin. */
  readonly serviceAccount?: boolean;
  /** Stored and saving bytes of each project, e.g. `200MiB`. Default: no limit. */
  readonly quota?: string;
  /** Of each user. */
  readonly userLimits?: { readonly saving?: string; readonly uploads?: number };
  readonly cloudLimits?: { readonly source: 'usage' | 'keystone'; readonly ttl?: string };
  /** How often the images of running uploads are looked up. Default: the gateway's own. */
  readonly watchInterval?: string;
  readonly orphans?: { readonly interval: string; readonly min_age: string };
  /** What is asked before a body, and how long `100 Continue` is waited for. */
  readonly preflight?: { readonly preflight: 'expect' | 'request'; readonly continue_wait?: string };
}

/** `sluice run` as a process of its own, or, with SLUICE_TEST_DIRECT, only the name of what it would stand in front of. */
export class Gateway {
  readonly origin: string;
  readonly #admin: string | null;
  readonly #process: ChildProcess | null;
  readonly #directory: string | null;
  readonly #logFile: string | null;

  private constructor(
    origin: string,
    admin: string | null,
    process: ChildProcess | null,
    directory: string | null,
    logFile: string | null,
  ) {
    this.origin = origin;
    this.#admin = admin;
    this.#process = process;
    this.#directory = directory;
    this.#logFile = logFile;
  }

  /** Starts a gateway and waits until it says that it is ready. */
  static async start(settings: GatewaySettings = {}): Promise<Gateway> {
    const upstream = settings.upstream ?? glanceOrigin;
    if (direct) return new Gateway(upstream, null, null, null, null);
    const [port, adminPort] = await freePorts();
    const directory = await mkdtemp(join(stackDirectory, 'gateway-'));
    const file = join(directory, 'sluice.yaml');
    await writeFile(file, stringify(configuration(port, adminPort, upstream, settings)));
    await writeFile(
      join(directory, 'password'),
      secret('the password of the service account', servicePassword),
    );
    const logFile = join(stackDirectory, 'log', `${basename(directory)}.out`);
    const log = openSync(logFile, 'a');
    const child = spawn(process.execPath, ['dist/main.js', 'run', '-c', file], {
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    const gateway = new Gateway(
      `http://127.0.0.1:${port}`,
      `http://127.0.0.1:${adminPort}`,
      child,
      directory,
      logFile,
    );
    running.add(child);
    child.once('exit', () => running.delete(child));
    try {
      await eventually(async () => {
        if (!running.has(child)) return;
        const answer = await fetch(`http://127.0.0.1:${adminPort}/readyz`);
        if (answer.status !== 200) throw new Error(`/readyz: ${answer.status} ${await answer.text()}`);
      }, 'the gateway is not ready');
      if (!running.has(child)) throw new Error(`the gateway ended by itself; see ${logFile}`);
    } catch (error) {
      await gateway.stop();
      throw error;
    }
    return gateway;
  }

  get port(): number {
    return Number(new URL(this.origin).port);
  }

  /** What `GET /uploads` of the admin listener says. Without a gateway: nothing is under way. */
  async uploads(): Promise<UploadsView> {
    if (this.#admin === null) return { uploads: [], saving_bytes: 0 };
    const text = await this.#page('/uploads');
    if (text !== lastUploads) publish('/uploads', text);
    lastUploads = text;
    return uploadsView.parse(JSON.parse(text));
  }

  /** The upload of an image that is under way; null if there is none. */
  async upload(imageId: string): Promise<UploadView | null> {
    const { uploads } = await this.uploads();
    return uploads.find(({ image }) => image === imageId) ?? null;
  }

  /** The value of one sample of `/metrics`, e.g. `sluice_uploads_total{ending="stored"}`; 0 if there is no such sample. */
  async metric(sample: string): Promise<number> {
    const lines = (await this.#page('/metrics')).split('\n');
    return Number(lines.find((line) => line.startsWith(`${sample} `))?.slice(sample.length + 1) ?? 0);
  }

  /** The sum over all samples of a metric. */
  async metricSum(name: string): Promise<number> {
    const lines = (await this.#page('/metrics')).split('\n');
    const samples = lines.filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
    return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  }

  /** What `GET /orphans` of the admin listener says. */
  async orphans(): Promise<OrphansView> {
    return orphansView.parse(JSON.parse(await this.#page('/orphans')));
  }

  /** The lines of its log so far. */
  async logLines(): Promise<string[]> {
    return this.#logFile === null ? [] : (await readFile(this.#logFile, 'utf8')).split('\n');
  }

  async #page(path: string): Promise<string> {
    if (this.#admin === null) return '';
    return await (await fetch(`${this.#admin}${path}`)).text();
  }

  async stop(): Promise<void> {
    const child = this.#process;
    if (child !== null && running.has(child)) {
      for (const path of ['/metrics', '/orphans']) publish(path, await this.#page(path));
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      const impatience = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await exit;
      clearTimeout(impatience);
    }
    if (this.#directory !== null) await rm(this.#directory, { recursive: true, force: true });
  }
}

/** Tests ask again and again, and mostly hear the same. */
let lastUploads = '';

const running = new Set<ChildProcess>();
// a test run that is broken off must not leave gateways behind
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

function configuration(port: number, adminPort: number, upstream: string, settings: GatewaySettings) {
  return {
    listen: [{ address: `127.0.0.1:${port}` }],
    admin: { address: `127.0.0.1:${adminPort}` },
    shutdown_grace: '1s',
    upstream: { servers: [upstream], server_kind: 'eventlet' },
    upload: {
      ...settings.preflight,
      ...(settings.watchInterval === undefined ? {} : { watch_interval: settings.watchInterval }),
    },
    identity: identityOptions(settings),
    quota: quotaOptions(settings),
    ...(settings.orphans === undefined ? {} : { orphans: settings.orphans }),
  };
}

function identityOptions({ identity = 'keystone', keystone, serviceAccount }: GatewaySettings) {
  const account = { user: 'glance', project: 'service', password_file: 'password' };
  const headers = { user: 'X-User-Id', project: 'X-Project-Id', trusted_from: ['127.0.0.0/8'] };
  switch (identity) {
    case 'none':
      return { source: identity };
    case 'headers':
      return { source: identity, headers };
    case 'keystone':
      return {
        source: identity,
        keystone: {
          url: keystoneUrl,
          ...keystone,
          ...(serviceAccount === true ? { service_account: account } : {}),
        },
      };
  }
}

function quotaOptions({ quota, userLimits, cloudLimits }: GatewaySettings) {
  if (quota === undefined && userLimits === undefined && cloudLimits === undefined) return { mode: 'off' };
  return {
    mode: 'enforce',
    limits: [
      { per: 'project', total: quota ?? 0 },
      { per: 'user', ...userLimits },
    ],
    usage: { source: 'glance', ttl: '1s' },
    ...(cloudLimits === undefined ? {} : { cloud_limits: cloudLimits }),
  };
}

async function freePorts(): Promise<[number, number]> {
  // both are held at once, so that they differ
  const servers = [createServer(), createServer()] as const;
  for (const server of servers) await once(server.listen(0, '127.0.0.1'), 'listening');
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return [ports[0] ?? 0, ports[1] ?? 0];
}
