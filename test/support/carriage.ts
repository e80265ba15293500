import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { Socket } from 'node:net';
import { GatewayError } from '../../src/core/errors.ts';
import { MiB } from '../../src/core/units.ts';
import type { Carried, Passage } from '../../src/lanes/lane.ts';
import { StreamLane } from '../../src/lanes/stream.ts';
import { RawClient } from './raw-client.ts';
import { unboundedPassage } from './unbounded-passage.ts';

/** An upstream whose kernel takes what it is told to take: nothing at first. */
export class GatedSocket extends Socket {
  takenBytes = 0;
  writes = 0;
  #open = false;
  #waiting: (() => void)[] = [];

  /** Takes everything from now on. */
  open(): void {
    this.#open = true;
    for (const take of this.#waiting.splice(0)) take();
  }

  /** Takes nothing from now on. */
  close(): void {
    this.#open = false;
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, callback: () => void): void {
    const take = (): void => {
      this.writes += 1;
      this.takenBytes += chunk.length;
      callback();
    };
    if (this.#open) take();
    else this.#waiting.push(take);
  }

  override _writev(chunks: { chunk: Uint8Array }[], callback: () => void): void {
    const joined = Buffer.concat(chunks.map(({ chunk }) => Buffer.from(chunk)));
    this._write(joined, 'latin1', callback);
  }
}

/** One body on its way through the stream lane, between a real connection of a client and a `GatedSocket`. */
export class Carriage {
  readonly client: RawClient;
  readonly upstream = new GatedSocket();
  readonly request: IncomingMessage;
  readonly passage: Passage;
  readonly #server: Server;

  /** @param declaredBytes null for a body of unknown length. */
  static async begin(declaredBytes: number | null, changes: Partial<Passage> = {}): Promise<Carriage> {
    const server = createServer({ keepAliveTimeout: 0 }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const client = await RawClient.connect(typeof address === 'object' ? (address?.port ?? 0) : 0);
    const arrived = once(server, 'request');
    const field = declaredBytes === null ? 'Transfer-Encoding: chunked' : `Content-Length: ${declaredBytes}`;
    await client.request('PUT / HTTP/1.1', 'Host: images', field);
    const request: IncomingMessage = (await arrived)[0];
    return new Carriage(server, client, request, declaredBytes, changes);
  }

  private constructor(
    server: Server,
    client: RawClient,
    request: IncomingMessage,
    declaredBytes: number | null,
    changes: Partial<Passage>,
  ) {
    this.#server = server;
    this.client = client;
    this.request = request;
    this.passage = {
      client: request,
      upstream: this.upstream,
      declaredBytes,
      endFollows: declaredBytes === null,
      ...unboundedPassage(),
      allowedBytes: 1024 * MiB,
      allowMore: async () => 2 * 1024 * MiB,
      interrupted: new Promise(() => {}),
      ...changes,
    };
  }

  /** Resolves with how the body was carried, or the error that ended it. */
  carry(): Promise<Carried | GatewayError> {
    return new StreamLane().carry(this.passage).catch((error: unknown) => {
      if (error instanceof GatewayError) return error;
      throw error;
    });
  }

  /** Writes a piece of the body, framed as it has to be. */
  send(piece: Uint8Array | string): Promise<void> {
    return this.passage.declaredBytes === null ? this.client.chunk(piece) : this.client.write(piece);
  }

  end(): void {
    this.upstream.destroy();
    this.client.destroy();
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
