import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { z } from 'zod';
import { eventually } from '../../support/eventually.ts';
import { direct, glanceOrigin, stackDirectory } from './stack.ts';

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

export interface GatewaySettings {
  /** Default: Glance. */
  readonly upstream?: string;
  /** `headers` (default) believes X-User-Id and X-Project-Id; `none` makes everybody one owner. */
  readonly identity?: 'headers' | 'none';
  /** Stored and saving bytes of each project, e.g. `200MiB`. Default: no limit. */
  readonly quota?: string;
}

/** `sluice run` as a process of its own, or, with SLUICE_TEST_DIRECT, only the name of what it would stand in front of. */
export class Gateway {
  readonly origin: string;
  readonly #admin: string | null;
  readonly #process: ChildProcess | null;
  readonly #directory: string | null;

  private constructor(
    origin: string,
    admin: string | null,
    process: ChildProcess | null,
    directory: string | null,
  ) {
    this.origin = origin;
    this.#admin = admin;
    this.#process = process;
    this.#directory = directory;
  }

  /** Starts a gateway and waits until it says that it is ready. */
  static async start(settings: GatewaySettings = {}): Promise<Gateway> {
    const upstream = settings.upstream ?? glanceOrigin;
    if (direct) return new Gateway(upstream, null, null, null);
    const [port, adminPort] = await freePorts();
    const directory = await mkdtemp(join(stackDirectory, 'gateway-'));
    const file = join(directory, 'sluice.yaml');
    await writeFile(file, stringify(configuration(port, adminPort, upstream, settings)));
    const logFile = join(stackDirectory, 'log', 'gateway.out');
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
    const answer = await fetch(`${this.#admin}/uploads`);
    return uploadsView.parse(await answer.json());
  }

  /** The upload of an image that is under way; null if there is none. */
  async upload(imageId: string): Promise<UploadView | null> {
    const { uploads } = await this.uploads();
    return uploads.find(({ image }) => image === imageId) ?? null;
  }

  /** The value of one sample of `/metrics`, e.g. `sluice_uploads_total{ending="stored"}`; 0 if there is no such sample. */
  async metric(sample: string): Promise<number> {
    if (this.#admin === null) return 0;
    const answer = await fetch(`${this.#admin}/metrics`);
    const line = (await answer.text()).split('\n').find((text) => text.startsWith(`${sample} `));
    return Number(line?.slice(sample.length + 1) ?? 0);
  }

  async stop(): Promise<void> {
    const child = this.#process;
    if (child !== null && running.has(child)) {
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      const impatience = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await exit;
      clearTimeout(impatience);
    }
    if (this.#directory !== null) await rm(this.#directory, { recursive: true, force: true });
  }
}

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
    identity:
      settings.identity === 'none'
        ? { source: 'none' }
        : {
            source: 'headers',
            headers: { user: 'X-User-Id', project: 'X-Project-Id', trusted_from: ['127.0.0.0/8'] },
          },
    quota:
      settings.quota === undefined
        ? { mode: 'off' }
        : {
            mode: 'enforce',
            limits: [{ per: 'project', total: settings.quota }],
            usage: { source: 'glance', ttl: '1s' },
          },
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
