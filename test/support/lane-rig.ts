import assert from 'node:assert/strict';
import { getEventListeners, once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { GatewayError } from '../../src/core/errors.ts';
import { UpstreamLeg } from '../../src/http/upstream.ts';
import { type Carried, inFrames, type Lane, type LaneName, type Passage } from '../../src/lanes/lane.ts';
import type { Progress } from '../../src/lanes/progress.ts';
import { BodySink } from './body-sink.ts';
import { eventually } from './eventually.ts';
import { RawClient } from './raw-client.ts';
import { unboundedPassage } from './unbounded-passage.ts';

/** How a client frames its body: by its length, in chunks of which nobody knows how many bytes, or in chunks with a promise. */
export const framings = ['length', 'chunked', 'declared'] as const;
export type Framing = (typeof framings)[number];

export interface RigOptions {
  readonly framing: Framing;
  /** What is promised; nothing is in `chunked`. */
  readonly bytes: number;
  readonly passage?: Partial<Passage>;
  /** Bytes of the wire that go out in one write with the head. */
  readonly first?: Uint8Array | string;
  /** The lane that moves it; that of the rig if left out; null where it may end before anybody moves it. */
  readonly moved?: LaneName | null;
  readonly hashes?: boolean;
  /** The body is this over and over. */
  readonly repeats?: Buffer;
  /** False: the upstream does not read before it is told to. */
  readonly reads?: boolean;
}

/** One body on its way through a lane, from a real client through a real server of Node's to a real upstream, all over TCP. */
export class LaneRig {
  readonly client: RawClient;
  readonly sink: BodySink;
  readonly leg: UpstreamLeg;
  readonly request: IncomingMessage;
  readonly passage: Passage;
  /** Targets of the requests that came after the first. */
  readonly later: string[] = [];
  readonly #server: Server;
  readonly #response: ServerResponse;
  readonly #lane: Lane;
  readonly #options: RigOptions;
  readonly #listeners: () => readonly number[];

  static async begin(lane: Lane, options: RigOptions): Promise<LaneRig> {
    const { framing, bytes, first = '', passage = {} } = options;
    const sink = await BodySink.start(options);
    const later: string[] = [];
    const server = createServer({ keepAliveTimeout: 0, requestTimeout: 0 });
    server.timeout = passage.clientSocketTimeoutMs ?? 0;
    const arrived = new Promise<readonly [IncomingMessage, ServerResponse]>((resolve) => {
      server.once('request', (request, response) => {
        if (framing !== 'length') lane.prepare(request);
        server.on('request', (next, answer) => {
          later.push(next.url ?? '');
          answer.end('next');
        });
        resolve([request, response]);
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const client = await RawClient.connect(typeof address === 'object' ? (address?.port ?? 0) : 0);
    const field = framing === 'length' ? `Content-Length: ${bytes}` : 'Transfer-Encoding: chunked';
    const head = Buffer.from(`PUT / HTTP/1.1\r\nHost: images\r\n${field}\r\n\r\n`);
    void client.write(Buffer.concat([head, Buffer.from(first)]));
    const [request, response] = await arrived;
    const declared = {
      declaredBytes: framing === 'chunked' ? null : bytes,
      endFollows: framing !== 'length',
    };
    const leg = await UpstreamLeg.open({
      origin: new URL(`http://127.0.0.1:${sink.port}`),
      method: 'PUT',
      target: '/',
      headers: [
        ...['Host', 'images'],
        ...(inFrames(declared) ? ['Transfer-Encoding', 'chunked'] : ['Content-Length', String(bytes)]),
      ],
      connectTimeoutMs: 0,
      signal: new AbortController().signal,
    });
    const full: Passage = {
      ...declared,
      client: request,
      upstream: leg.socket,
      ...unboundedPassage(),
      allowedBytes: 1024 ** 4,
      allowMore: () => Promise.reject(new Error('nobody was to ask for more')),
      interrupted: leg.interrupted,
      ...passage,
    };
    return new LaneRig(lane, options, server, client, sink, leg, request, response, full, later);
  }

  private constructor(
    lane: Lane,
    options: RigOptions,
    server: Server,
    client: RawClient,
    sink: BodySink,
    leg: UpstreamLeg,
    request: IncomingMessage,
    response: ServerResponse,
    passage: Passage,
    later: string[],
  ) {
    this.#lane = lane;
    this.#options = options;
    this.#server = server;
    this.client = client;
    this.sink = sink;
    this.leg = leg;
    this.request = request;
    this.#response = response;
    this.passage = passage;
    this.later = later;
    const { socket } = request;
    this.#listeners = () => [
      ...['data', 'end', 'error', 'close', 'timeout', 'readable'].map((name) => request.listenerCount(name)),
      ...(socket.destroyed ? [] : ['data', 'close', 'timeout']).map((name) => socket.listenerCount(name)),
      getEventListeners(passage.signal, 'abort').length,
    ];
  }

  get progress(): Progress {
    return this.passage.progress;
  }

  /**
   * Resolves with how the body was carried, or the error that ended it, after a look at what every lane promises for then: which
   * lane it was, that nobody listens any more, and that the client is not read from.
   */
  async carry(): Promise<Carried | GatewayError> {
    const { moved = this.#lane.name } = this.#options;
    const { end, progress, client } = this.passage;
    const before = this.#listeners();
    const drains = this.leg.socket.listenerCount('drain');
    const carried = await this.#lane.carry(this.passage).catch((error: unknown) => {
      if (error instanceof GatewayError) return error;
      throw error;
    });
    if (moved !== null) assert.equal(progress.lane, moved, 'the lane that moved it');
    // Node's own has gone with the request upstream, where that is over
    assert.ok(this.leg.socket.listenerCount('drain') <= drains, 'nobody waits for the upstream');
    if (!client.socket.destroyed) assert.deepEqual(this.#listeners(), before, 'nobody listens any more');
    assert.equal(end.onFree, null);
    if (!client.complete) assert.notEqual(client.readableFlowing, true, 'the client is paused');
    if (carried === 'sent') assert.equal(progress.endSent, true, 'its end is with the kernel');
    return carried;
  }

  /** Writes data, framed as it has to be: a chunk for each piece. */
  send(piece: Uint8Array | string): Promise<void> {
    return this.#options.framing === 'length' ? this.client.write(piece) : this.client.chunk(piece);
  }

  /** Tells that there is no more, where the framing tells. */
  async finish(): Promise<void> {
    if (this.#options.framing !== 'length') await this.client.chunk('');
  }

  /** Answers the client; what it still sends of its body is thrown away. */
  answer(): void {
    this.#response.end('carried');
    this.request.resume();
  }

  /** The client's connection is good for another request, which may be on its way already. */
  async asksAgain(sent = false): Promise<void> {
    this.answer();
    if (!sent) await this.client.request('GET /next HTTP/1.1', 'Host: images');
    assert.equal((await this.client.response()).body.toString(), 'carried');
    assert.equal((await this.client.response()).body.toString(), 'next');
    assert.deepEqual(this.later, ['/next']);
  }

  /** The upstream was cut off, and never had the end of the body. */
  async cutUpstream(): Promise<void> {
    await this.leg.reset();
    this.sink.read();
    await eventually(() => this.sink.closing !== null, 'the upstream learns of it');
    assert.equal(this.sink.ended, false, 'the body was not whole');
    assert.equal(this.progress.endSent, false);
    assert.equal(this.sink.broken, null);
  }

  async stop(): Promise<void> {
    await this.leg.reset();
    this.client.destroy();
    this.sink.stop();
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
