import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { imageRecord } from './image-record.ts';

/** An upload that has arrived whole, as Node's own parser understood it. */
export interface ArrivedBody {
  readonly sha256: string;
  readonly bytes: number;
}

/** The origin of a proof: it keeps the digest of each upload, and sends a download that is known. */
export class CheckingOrigin {
  readonly port: number;
  readonly #server: Server;
  readonly #arrived: Map<string, ArrivedBody>;

  /** @param download the body of each download. */
  static async start(download: Buffer): Promise<CheckingOrigin> {
    const arrived = new Map<string, ArrivedBody>();
    const server = createServer(async (request, response) => {
      const target = request.url ?? '';
      const hash = createHash('sha256');
      let bytes = 0;
      try {
        for await (const chunk of request) {
          hash.update(chunk);
          bytes += chunk.length;
        }
      } catch {
        // cut: it has not arrived
        return;
      }
      if (request.method === 'PUT') {
        arrived.set(target, { sha256: hash.digest('hex'), bytes });
        response.writeHead(204).end();
      } else if (target.endsWith('/file')) {
        response.writeHead(200, { 'Content-Length': download.length }).end(download);
      } else {
        response.writeHead(200, { 'Content-Type': 'application/json' }).end(imageRecord);
      }
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('it does not listen on TCP');
    return new CheckingOrigin(server, address.port, arrived);
  }

  private constructor(server: Server, port: number, arrived: Map<string, ArrivedBody>) {
    this.#server = server;
    this.port = port;
    this.#arrived = arrived;
  }

  /** What has arrived for a target. */
  arrived(target: string): ArrivedBody | undefined {
    return this.#arrived.get(target);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
