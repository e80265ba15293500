import type { ConnectionOptions } from 'node:tls';
import { z } from 'zod';
import { defaultConfig } from '../../src/config/load.ts';
import type { WrittenOptions } from '../../src/config/options.ts';
import { Gateway } from '../../src/gateway.ts';
import type { StartEngine } from '../../src/lanes/kernel/shared-engine.ts';
import { LogLines } from './log-lines.ts';
import { RawClient } from './raw-client.ts';
import { lane } from './tested-lane.ts';

const uploadsAnswer = z.object({
  uploads: z.array(
    z.object({
      id: z.string(),
      image: z.string(),
      lane: z.string(),
      received_bytes: z.number(),
      sent_bytes: z.number(),
    }),
  ),
});

const accessLine = z.object({
  request_id: z.string(),
  upstream_request_id: z.string().optional(),
  trace_id: z.string().optional(),
  client: z.string(),
  method: z.string(),
  action: z.string(),
  route: z.string(),
  status: z.number(),
  error: z.string().optional(),
  ending: z.string().optional(),
});

/** What the log says of one request. */
export type AccessLine = z.infer<typeof accessLine>;

export type UploadRow = z.infer<typeof uploadsAnswer>['uploads'][number];

/** A gateway in this process on a port of loopback, before an upstream there, with no health checks of its own. */
export class TestGateway {
  readonly gateway: Gateway;
  readonly port: number;
  readonly adminPort: number;
  /** Of all listeners on TCP; the first is plain HTTP. */
  readonly ports: readonly number[];
  readonly #log: LogLines;
  readonly #clients: RawClient[] = [];

  static async start(
    upstreamPort: number,
    changes: WrittenOptions = {},
    log: LogLines = new LogLines(),
    startEngine?: StartEngine,
  ): Promise<TestGateway> {
    const config = defaultConfig({
      ...changes,
      listen: [{ address: '127.0.0.1:0' }, ...(changes.listen ?? [])],
      admin: { address: '127.0.0.1:0' },
      upload: { ...lane, ...changes.upload },
      upstream: {
        ...changes.upstream,
        servers: [`http://127.0.0.1:${upstreamPort}`],
        health: { interval: 0 },
      },
    });
    const gateway = new Gateway(config, log.log, 'test', startEngine);
    await gateway.start();
    return new TestGateway(gateway, log);
  }

  private constructor(gateway: Gateway, log: LogLines) {
    const { listen = [], admin } = gateway.addresses ?? {};
    const [first] = listen;
    if (first === undefined || admin === undefined || !('port' in first) || !('port' in admin)) {
      throw new Error('the gateway does not listen on TCP');
    }
    this.gateway = gateway;
    this.#log = log;
    this.port = first.port;
    this.ports = listen.flatMap((each) => ('port' in each ? [each.port] : []));
    this.adminPort = admin.port;
  }

  /** One for each request that is over, oldest first. */
  get lines(): readonly AccessLine[] {
    return this.#log.requests().map((line) => accessLine.parse(line));
  }

  /** The last line that is not about a request: its message and its numbers. */
  lastLine(): Record<string, unknown> {
    const {
      level: _level,
      time: _time,
      pid: _pid,
      hostname: _host,
      ...rest
    } = this.#log.others().at(-1) ?? {};
    return rest;
  }

  /** A connection that `stop` lets go of. */
  async client(): Promise<RawClient> {
    const client = await RawClient.connect(this.port);
    this.#clients.push(client);
    return client;
  }

  /** A connection over TLS to the last listener, as `RawClient.secure`. */
  async secureClient(options: ConnectionOptions = {}, first = ''): Promise<RawClient> {
    const client = await RawClient.secure(this.ports.at(-1) ?? 0, options, first);
    this.#clients.push(client);
    return client;
  }

  /** The uploads under way, as an operator sees them. */
  uploads(): Promise<UploadRow[]> {
    return uploadsUnderWay(this.adminPort);
  }

  /** The value of one series, e.g. `sluice_connections`; 0 where there is none. */
  async metric(series: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${this.adminPort}/metrics`)).text();
    const line = text.split('\n').find((each) => each.startsWith(`${series} `));
    return line === undefined ? 0 : Number(line.slice(series.length + 1));
  }

  /** An operator ends an upload. Resolves with the status of the answer. */
  async cancel(id: string): Promise<number> {
    const answer = await fetch(`http://127.0.0.1:${this.adminPort}/uploads/${id}`, { method: 'DELETE' });
    return answer.status;
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    await this.gateway.stopNow();
  }
}

export async function uploadsUnderWay(adminPort: number): Promise<UploadRow[]> {
  const answer = await fetch(`http://127.0.0.1:${adminPort}/uploads`);
  return uploadsAnswer.parse(await answer.json()).uploads;
}

/** The head of an upload by ann of project blue; the fields say the framing. */
export function uploadHead(image: string, ...fields: readonly string[]): string[] {
  return [
    `PUT /v2/images/${image}/file HTTP/1.1`,
    'Host: images',
    'X-User-Id: ann',
    'X-Project-Id: blue',
    'Content-Type: application/octet-stream',
    ...fields,
  ];
}
