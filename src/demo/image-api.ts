import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { KiB, MiB } from '../core/units.ts';
import { type Answer, errorAnswer, send } from './answer.ts';
import { ApiError } from './api-error.ts';
import type { Caller } from './image.ts';
import { ImageCatalog } from './image-catalog.ts';
import { ImageRoutes, type Route } from './image-routes.ts';
import { ImageStore } from './image-store.ts';
import { imageTarget } from './image-target.ts';

/*
 * A subset of Glance v2 with its quirks, for `sluice demo` and for the tests of the gateway: an upload whose image was
 * deleted runs to its end, an image in `saving` counts 0, a refusal comes before the body and the body is then read and
 * thrown away. It behaves as Glance on eventlet with the file store and the `headers` flavor does; it does not ask
 * for disk and container format before an upload.
 */

export interface ImageApiOptions {
  readonly host?: '127.0.0.1';
  /** 0 = any free port. */
  readonly port: number;
  /** Glance's `user_storage_quota`: what each project may store, in bytes. 0 = no limit, the default. */
  readonly quotaBytes?: number;
  /** Where the scratch folder is made. Default: the system's folder of temporary files. */
  readonly directory?: string;
  /**
   * How a caller is known; null = not at all. Default: by X-User-Id, X-Project-Id and X-Roles, as Glance's `headers`
   * flavor does it.
   */
  readonly identify?: (headers: IncomingMessage['headers']) => Caller | null;
  /** Unified limits, in MiB and in uploads; -1 = none. Shown at `/v2/info/usage`, not kept. Default: they are off. */
  readonly unifiedLimits?: { readonly sizeTotalMiB: number; readonly countUploading: number };
  /** Glance's `http_keepalive`. False: every answer says `Connection: close` and the socket closes. Default true. */
  readonly httpKeepalive?: boolean;
}

/** A request as it arrived, for tests of what the gateway sends. */
export interface SeenRequest {
  readonly method: string;
  /** The raw request target. */
  readonly target: string;
  /** Names and values in turn, as on the wire. */
  readonly headers: readonly string[];
}

export interface ImageApi {
  readonly url: string;
  readonly port: number;
  /** Bytes in files now, whether any quota counts them or not. */
  storedBytes(): number;
  /** Bodies of uploads that are being received. */
  uploadsUnderWay(): number;
  /** The last 10,000 requests, oldest first. */
  requests(): readonly SeenRequest[];
  /** Closes all sockets and removes the scratch folder; asked again, waits for the same. */
  stop(): Promise<void>;
}

const maxJsonBytes = MiB;
const maxSeenRequests = 10_000;
/** Glance's `client_socket_timeout`, which in eventlet holds for every socket operation. */
const clientSocketTimeoutMs = 900_000;
/** eventlet reads heads of up to 64 KiB. */
const maxHeadBytes = 64 * KiB;

/** Rejects when the port cannot be had. */
export async function startImageApi(options: ImageApiOptions): Promise<ImageApi> {
  const {
    host = '127.0.0.1',
    port,
    quotaBytes = 0,
    directory,
    httpKeepalive = true,
    identify = byHeaders,
  } = options;
  const store = new ImageStore(directory);
  const routes = new ImageRoutes(new ImageCatalog(quotaBytes), store, options.unifiedLimits ?? null);
  const seen: SeenRequest[] = [];
  const underWay = new Set<Promise<void>>();

  const server = createServer({
    // 0: Node's own limit covers the whole body and would end long uploads
    requestTimeout: 0,
    keepAliveTimeout: clientSocketTimeoutMs,
    maxHeaderSize: maxHeadBytes,
  });
  server.timeout = clientSocketTimeoutMs;

  const begin = (request: IncomingMessage, response: ServerResponse, continueOwed: boolean): void => {
    seen.push({ method: request.method ?? '', target: request.url ?? '', headers: request.rawHeaders });
    if (seen.length > maxSeenRequests) seen.shift();
    sayConnection(request, response, httpKeepalive);
    const exchanged = exchange({ table: routes.table, identify }, request, response, continueOwed).finally(
      () => underWay.delete(exchanged),
    );
    underWay.add(exchanged);
  };
  server.on('request', (request, response) => begin(request, response, false));
  server.on('checkContinue', (request, response) => begin(request, response, true));

  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (error) {
    await store.close();
    throw error;
  }
  const address = server.address();
  const boundPort = typeof address === 'object' && address !== null ? address.port : port;

  let stopped: Promise<void> | null = null;
  const stop = async (): Promise<void> => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
    await Promise.all(underWay);
    await store.close();
  };

  return {
    url: `http://${host}:${boundPort}`,
    port: boundPort,
    storedBytes: () => store.storedBytes(),
    uploadsUnderWay: () => routes.uploadsUnderWay,
    requests: () => seen,
    stop() {
      stopped ??= stop();
      return stopped;
    },
  };
}

/** As eventlet: nothing is said of a connection that stays, unless the client asked for it in so many words. */
function sayConnection(request: IncomingMessage, response: ServerResponse, httpKeepalive: boolean): void {
  if (!httpKeepalive) response.setHeader('Connection', 'close');
  else if (response.shouldKeepAlive && request.headers.connection === undefined)
    response.removeHeader('Connection');
  else if (response.shouldKeepAlive) response.setHeader('Connection', 'keep-alive');
}

interface Served {
  readonly table: readonly Route[];
  readonly identify: NonNullable<ImageApiOptions['identify']>;
}

/** One request, from its head to the end of its answer. Never rejects. */
async function exchange(
  served: Served,
  request: IncomingMessage,
  response: ServerResponse,
  continueOwed: boolean,
): Promise<void> {
  // a connection that breaks is noticed by whoever reads the body or writes the answer
  request.on('error', () => {});
  response.on('error', () => {});
  let answer: Answer;
  let owed = continueOwed;
  const openBody = () => {
    if (owed) response.writeContinue();
    owed = false;
    return request;
  };
  try {
    answer = await answerOf(served, request, openBody);
  } catch (error) {
    answer = errorAnswer(error, request.headers.accept);
  }
  // whether the body still comes cannot be known
  if (owed) response.setHeader('Connection', 'close');
  try {
    await send(response, answer);
  } catch {
    // the client left inside its download
  }
  // what a refused client still sends is read and thrown away, so that the connection can be used again
  request.resume();
}

async function answerOf(
  { table, identify }: Served,
  request: IncomingMessage,
  openBody: () => Readable,
): Promise<Answer> {
  const { headers } = request;
  const { method, path, query } = imageTarget(request);
  if (path === '/healthcheck') {
    if (method !== 'GET') throw methodNotAllowed(['GET']);
    return { status: 200, content: 'OK' };
  }
  if (!/^\/v2(\/|$)/.test(path)) {
    return { status: path === '/versions' ? 200 : 300, content: versions(headers.host ?? 'localhost') };
  }
  const caller = identify(headers);
  if (caller === null) throw new ApiError(401, 'The request you have made requires authentication.');
  const matched = table.flatMap((route) => {
    const id = idIn(route.path, path);
    return id === null ? [] : [{ ...route, id }];
  });
  const route = matched.find((candidate) => candidate.method === method);
  if (route === undefined) {
    if (matched.length > 0) throw methodNotAllowed(matched.map((candidate) => candidate.method));
    throw new ApiError(404, 'The resource could not be found.');
  }
  return route.handle({
    caller,
    id: route.id,
    query,
    headers,
    openBody,
    json: async () => parsedJson(await collected(openBody(), maxJsonBytes)),
  });
}

/** The id in a path of this pattern, the empty string where the pattern has none, null where it does not match. */
function idIn(pattern: string, path: string): string | null {
  const wanted = pattern.split('/');
  const segments = path.split('/');
  const fits =
    wanted.length === segments.length &&
    wanted.every((part, i) => (part === '{id}' ? segments[i] !== '' : part === segments[i]));
  return fits ? (segments[wanted.indexOf('{id}')] ?? '') : null;
}

function byHeaders(headers: IncomingMessage['headers']): Caller | null {
  const { 'x-user-id': userId, 'x-project-id': projectId, 'x-roles': roles } = headers;
  if (typeof userId !== 'string' || userId === '' || typeof projectId !== 'string' || projectId === '') {
    return null;
  }
  const isAdmin = String(roles ?? '')
    .split(',')
    .some((role) => role.trim().toLowerCase() === 'admin');
  return { userId, projectId, isAdmin };
}

/** @throws ApiError 413 at the first byte over the limit; the rest is then read and thrown away. */
async function collected(body: Readable, limitBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    body.on('data', (piece: Buffer) => {
      bytes += piece.length;
      if (bytes <= limitBytes) pieces.push(piece);
      else reject(new ApiError(413, `The body is larger than ${limitBytes} bytes.`));
    });
    body.on('end', () => resolve(Buffer.concat(pieces)));
    body.on('error', reject);
    body.on('close', () => reject(new Error('the body was cut short')));
  });
}

function parsedJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    throw new ApiError(400, 'Malformed JSON in request body.');
  }
}

function versions(host: string): object {
  const self = { rel: 'self', href: `http://${host}/v2/` };
  return {
    versions: [
      { id: 'v2.15', status: 'CURRENT', links: [self] },
      { id: 'v2.0', status: 'SUPPORTED', links: [self] },
    ],
  };
}

function methodNotAllowed(methods: readonly string[]): ApiError {
  return new ApiError(405, 'The method is not allowed for this resource.', { Allow: methods.join(', ') });
}
