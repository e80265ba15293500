import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';

/** One request that a node has in whole. */
export interface Heard {
  readonly method: string;
  readonly url: string;
  readonly body: string;
  readonly socket: Socket;
}

type Answering = (heard: Heard, response: ServerResponse) => unknown;

/** One of several servers of an API: takes everything, remembers what it heard, and can be stopped and started again. */
export class ApiNode {
  /** Oldest first. */
  readonly heard: Heard[] = [];
  /** Open connections. */
  readonly sockets = new Set<Socket>();
  answering: Answering = answerWell;
  port = 0;
  #server: Server | null = null;

  static async start(): Promise<ApiNode> {
    const node = new ApiNode();
    await node.start();
    return node;
  }

  /** Listens, again on the port it had. */
  async start(): Promise<void> {
    const server = createServer((request, response) => void this.#take(request, response).catch(() => {}));
    server.keepAliveTimeout = 0;
    server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    this.port = port;
    this.#server = server;
  }

  get origin(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** `METHOD URL` of what it heard, but for health checks. */
  get lines(): readonly string[] {
    return this.heard
      .filter(({ url }) => url !== '/healthcheck')
      .map(({ method, url }) => `${method} ${url}`);
  }

  /** As a process that is killed: connections break, new ones are refused. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === null) return;
    this.#server = null;
    const closed = once(server, 'close');
    server.close();
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', socket } = request;
    const body = (await buffer(request)).toString();
    const heard = { method, url, body, socket };
    this.heard.push(heard);
    await this.answering(heard, response);
  }
}

/** 204 to a PUT, 201 to a POST, else 200 with an empty object. */
export function answerWell({ method }: Heard, response: ServerResponse): void {
  if (method === 'PUT') response.writeHead(204).end();
  else response.writeHead(method === 'POST' ? 201 : 200, { 'Content-Type': 'application/json' }).end('{}');
}
