import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { ListenAddress } from '../config/config.ts';
import type { OrphanReport } from '../orphans.ts';
import type { UploadRow } from '../upload-row.ts';
import type { Metrics } from './metrics.ts';

export interface AdminView {
  readonly metrics: Metrics;
  /** All that bytes are set aside for. */
  uploads(): readonly UploadRow[];
  /** Ends one, or gives it up where there is nothing to end. Resolves when that is done; false where there is no such. */
  cancel(id: string): Promise<boolean>;
  savingBytes(): number;
  orphans(): OrphanReport;
  /** Null when ready, else why not, in a few words. */
  notReady(): string | null;
}

/** The listener for operators: health, metrics, uploads. Whoever reaches it is one. */
export class AdminServer {
  readonly #server: Server;
  readonly #view: AdminView;

  constructor(view: AdminView) {
    this.#view = view;
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  async listen(address: ListenAddress): Promise<ListenAddress> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(address, () => resolve());
    });
    const bound = this.#server.address();
    return typeof bound === 'object' && bound !== null ? { host: bound.address, port: bound.port } : address;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { metrics } = this.#view;
    const [path = ''] = (request.url ?? '').split('?');
    const cancelled = /^\/uploads\/([0-9a-f-]{36})$/.exec(path)?.[1];
    if (request.method === 'DELETE' && cancelled !== undefined) {
      if (!(await this.#view.cancel(cancelled)))
        return json(response, 404, { error: 'no such upload is under way' });
      response.writeHead(204).end();
      return;
    }
    const known =
      ['/metrics', '/healthz', '/readyz', '/uploads', '/orphans'].includes(path) || cancelled !== undefined;
    if (!known) return json(response, 404, { error: 'not found' });
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', cancelled === undefined ? 'GET, HEAD' : 'DELETE');
      return json(response, 405, { error: 'method not allowed' });
    }
    switch (path) {
      case '/metrics': {
        const text = await metrics.registry.metrics();
        response.writeHead(200, { 'Content-Type': metrics.registry.contentType }).end(text);
        return;
      }
      case '/healthz':
        return json(response, 200, { status: 'ok' });
      case '/readyz': {
        const reason = this.#view.notReady();
        return json(
          response,
          reason === null ? 200 : 503,
          reason === null ? { status: 'ready' } : { status: reason },
        );
      }
      case '/uploads':
        return json(response, 200, {
          uploads: this.#view.uploads().map(uploadView),
          saving_bytes: this.#view.savingBytes(),
        });
      case '/orphans': {
        const { orphans, scannedAt, problem } = this.#view.orphans();
        return json(response, 200, { orphans, scanned_at: scannedAt?.toISOString() ?? null, problem });
      }
      default: {
        response.setHeader('Allow', 'DELETE');
        return json(response, 405, { error: 'method not allowed' });
      }
    }
  }
}

function uploadView({
  id,
  start,
  lane,
  startedAt,
  upstream,
  progress,
  reservedBytes,
  ending,
}: UploadRow): Record<string, unknown> {
  return {
    id,
    image: start.image,
    owner: start.owner,
    lane,
    declared_bytes: start.declaredBytes,
    received_bytes: progress.receivedBytes,
    sent_bytes: progress.sentBytes,
    reserved_bytes: reservedBytes,
    started_at: startedAt.toISOString(),
    client: start.client,
    upstream,
    ending,
  };
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' });
  response.end(`${JSON.stringify(body)}\n`);
}
