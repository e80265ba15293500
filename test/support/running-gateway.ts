import { z } from 'zod';
import { defaultConfig } from '../../src/config/load.ts';
import type { WrittenOptions } from '../../src/config/options.ts';
import { type ImageApi, type ImageApiOptions, startImageApi } from '../../src/demo/image-api.ts';
import { Gateway } from '../../src/gateway.ts';
import { createLog } from '../../src/log.ts';
import { RawClient } from './raw-client.ts';
import { lane } from './tested-lane.ts';

/** Everybody in these tests unless said otherwise. */
export const ann = { 'X-User-Id': 'ann', 'X-Project-Id': 'blue' };
export const KiB = 1024;

const record = z.object({ id: z.string(), status: z.string(), size: z.number().nullish() });
export const problemSchema = z.object({
  code: z.string(),
  status: z.number(),
  requested: z.number().optional(),
  remaining: z.number().optional(),
  limit: z.number().optional(),
});
export const uploadsSchema = z.object({
  uploads: z.array(
    z.object({
      id: z.string(),
      image: z.string(),
      owner: z.object({ user: z.string(), project: z.string() }),
      lane: z.string(),
      declared_bytes: z.number().nullable(),
      received_bytes: z.number(),
      sent_bytes: z.number(),
      reserved_bytes: z.number(),
      started_at: z.iso.datetime(),
      client: z.string(),
      upstream: z.string().nullable(),
      ending: z.literal('unknown').nullable(),
    }),
  ),
  saving_bytes: z.number(),
});

export type Headers = Readonly<Record<string, string>>;

/** A gateway in this process with everything that a test opened through it. */
export class RunningGateway {
  readonly gateway: Gateway;
  readonly port: number;
  readonly url: string;
  readonly adminUrl: string;
  readonly #clients: RawClient[] = [];

  constructor(gateway: Gateway) {
    this.gateway = gateway;
    const { listen, admin } = gateway.addresses ?? {};
    this.port = portOf(listen?.[0]);
    this.url = `http://127.0.0.1:${this.port}`;
    this.adminUrl = `http://127.0.0.1:${portOf(admin)}`;
  }

  async client(): Promise<RawClient> {
    const client = await RawClient.connect(this.port);
    this.#clients.push(client);
    return client;
  }

  /** A connection with the head of an upload on it, whose fields say the framing. */
  async uploading(image: string, fields: readonly string[], who: Headers = ann): Promise<RawClient> {
    const client = await this.client();
    await client.request(...uploadHead(image, fields, who));
    return client;
  }

  /** Uploads `bytes` zero bytes whole, length known. Resolves with status and problem code. */
  async put(image: string, bytes: number, who: Headers = ann): Promise<{ status: number; code: string }> {
    const client = await this.uploading(image, [`Content-Length: ${bytes}`], who);
    void client.write(Buffer.alloc(bytes));
    const { status, body } = await client.response();
    client.destroy();
    return { status, code: status < 300 ? '' : codeOf(body) };
  }

  /** The id of a new image in `queued`. */
  async create(who: Headers = ann, document: object = {}): Promise<string> {
    const response = await fetch(`${this.url}/v2/images`, {
      method: 'POST',
      headers: { ...who, Accept: 'application/json', 'Content-Type': 'application/json' },
      body: JSON.stringify({ disk_format: 'raw', container_format: 'bare', ...document }),
    });
    if (response.status !== 201) throw new Error(`the image was not created: ${response.status}`);
    return record.parse(await response.json()).id;
  }

  async image(id: string, who: Headers = ann): Promise<z.infer<typeof record>> {
    const response = await fetch(`${this.url}/v2/images/${id}`, { headers: who });
    return record.parse(await response.json());
  }

  async delete(id: string, who: Headers = ann): Promise<number> {
    const response = await fetch(`${this.url}/v2/images/${id}`, { method: 'DELETE', headers: who });
    await response.arrayBuffer();
    return response.status;
  }

  async uploads(): Promise<z.infer<typeof uploadsSchema>> {
    const response = await fetch(`${this.adminUrl}/uploads`);
    return uploadsSchema.parse(await response.json());
  }

  /** The value of one series, e.g. `sluice_uploads_total{ending="stored"}`; 0 where there is none. */
  async metric(series: string): Promise<number> {
    const text = await (await fetch(`${this.adminUrl}/metrics`)).text();
    const line = text.split('\n').find((each) => each.startsWith(`${series} `));
    return line === undefined ? 0 : Number(line.slice(series.length + 1));
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    await this.gateway.stopNow();
  }
}

/** Starts a gateway on free ports. `changes` name the upstream. */
export async function startGateway(changes: WrittenOptions): Promise<RunningGateway> {
  const gateway = new Gateway(testConfig(changes), createLog('silent', { write: () => {} }), 'test');
  await gateway.start();
  return new RunningGateway(gateway);
}

export function testConfig(changes: WrittenOptions): ReturnType<typeof defaultConfig> {
  return defaultConfig({
    listen: [{ address: '127.0.0.1:0' }],
    admin: { address: '127.0.0.1:0' },
    ...changes,
    upload: { ...lane, ...changes.upload },
  });
}

export interface Stage {
  readonly api: ImageApi;
  readonly gateway: RunningGateway;
  stop(): Promise<void>;
}

/** A gateway before the embedded image API. */
export async function startStage(
  changes: WrittenOptions = {},
  apiOptions: Partial<ImageApiOptions> = {},
): Promise<Stage> {
  const api = await startImageApi({ port: 0, ...apiOptions });
  const gateway = await startGateway({ upstream: { servers: [api.url] }, ...changes });
  return {
    api,
    gateway,
    async stop() {
      await gateway.stop();
      await api.stop();
    },
  };
}

export function uploadHead(
  image: string,
  fields: readonly string[],
  who: Headers = ann,
  target = `/v2/images/${image}/file`,
): string[] {
  return [
    `PUT ${target} HTTP/1.1`,
    'Host: images.example',
    'Content-Type: application/octet-stream',
    ...Object.entries(who).map(([name, value]) => `${name}: ${value}`),
    ...fields,
  ];
}

/** The code of a problem document; the text itself where it is none. */
export function codeOf(body: Buffer): string {
  try {
    return problemSchema.parse(JSON.parse(body.toString())).code;
  } catch {
    return body.toString();
  }
}

/** Uploads that the API saw: PUTs of a body, by whatever spelling. */
export function uploadsSeen(api: ImageApi): number {
  return api.requests().filter(({ method }) => method === 'PUT').length;
}

function portOf(address: unknown): number {
  return z.object({ port: z.number() }).parse(address).port;
}
