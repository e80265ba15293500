import type { ServerResponse } from 'node:http';
import type { GatewayError } from '../core/errors.ts';
import { joinedHeader, responseHeaders } from '../core/headers.ts';
import { KiB } from '../core/units.ts';
import { linger, sendHead } from './answer.ts';
import type { AnswerBody } from './answer-body.ts';
import type { Client } from './client.ts';
import { ClientBody } from './client-body.ts';
import { ClientDeparture, clientGone } from './client-departure.ts';
import { neverArrived, type PassedAnswer, type PassedRequest } from './connection-pool.ts';
import type { GiveUp } from './give-up.ts';

/** What came of a request that was passed through. Bytes are those of bodies. */
export interface Passed {
  readonly status: number;
  readonly bytesToClient: number;
}

export interface PassOptions {
  /**
   * Runs when the head of the answer is here, before anything of it is sent; also for a client that has left. What it adds
   * to the client's `answerFields` is sent.
   * @param headers the API's, a flat raw list.
   */
  readonly beforeAnswer?: (status: number, headers: readonly string[]) => Promise<void> | void;
  /** True: what was begun is carried to its end, although the client leaves. Default false. */
  readonly finishes?: boolean;
  /** Moves a body of known length past this process; null where that cannot be. Its connection is of no more use then. */
  readonly moveBody?: (client: Client, answer: PassedAnswer, bytes: number) => Promise<Moved | null>;
  /** Runs when the request may have reached the API, but its answer never comes. */
  readonly lost?: () => Promise<void>;
}

/** Of a body: what the client's kernel has of it, and whether that is all. */
export interface Moved {
  readonly bytes: number;
  readonly whole: boolean;
}

/** A request that got its answer: the head of it, and what is to be told when the answer is over. */
export interface Answered {
  readonly answer: PassedAnswer;
  readonly end: () => void;
}

/**
 * Sends a request that is no upload on and its answer back while it arrives; an answer that breaks off breaks off for the
 * client too.
 * @param ask sends it to a server; gives up when the signal aborts.
 * @throws GatewayError only as long as nothing of the answer was sent; `client-gone` if the client left before that.
 */
export async function passThrough(
  client: Client,
  request: PassedRequest,
  ask: (signal: GiveUp | undefined) => Promise<Answered>,
  options: PassOptions = {},
): Promise<Passed> {
  const { beforeAnswer, finishes = false, lost = async () => {} } = options;
  const { socket } = client;
  if (socket.destroyed) throw clientGone();
  const departure = finishes ? undefined : new ClientDeparture(socket);
  let end = (): void => {};
  try {
    const answered = await ask(departure).catch(async (error: GatewayError) => {
      if (!neverArrived.has(error.code)) await lost();
      throw error;
    });
    ({ end } = answered);
    const { answer } = answered;
    const before = beforeAnswer?.(answer.status, answer.headers);
    if (before !== undefined) await before;
    if (socket.destroyed) {
      await answer.body.discard();
      throw clientGone();
    }
    return {
      status: answer.status,
      bytesToClient: await relayBody(client, request, answer, options.moveBody),
    };
  } finally {
    end();
    departure?.end();
  }
}

/** Sends the answer while it arrives. Resolves with the bytes of its body, also where it broke off. */
async function relayBody(
  client: Client,
  { method, body: sentBody }: PassedRequest,
  answer: PassedAnswer,
  moveBody: PassOptions['moveBody'],
): Promise<number> {
  const { status, headers: received, body } = answer;
  const { request, response, socket, options, answerFields } = client;
  const early = !request.complete;
  // RFC 9110 §8.6: a 204 has none, whatever Glance says
  const headers = responseHeaders(received, { contentLength: status !== 204 });
  headers.push(...answerFields);
  if (early || !options.httpKeepalive) headers.push('Connection', 'close');
  // the end of an early answer is that of our side of the connection: Node would close both
  if (early) response.useChunkedEncodingByDefault = false;
  response.writeHead(status, headers);
  const here = early ? null : body.takeWhole();
  if (here !== null) return await sendWhole(response, here);
  const mayMove = !early && answer.movable && method === 'GET' && status === 200;
  const lengthBytes = mayMove ? plainLength(received) : null;
  const moved = lengthBytes === null ? null : ((await moveBody?.(client, answer, lengthBytes)) ?? null);
  // what came along with the head goes out with it, but for an answer that is not ended here
  if (moved === null && (early || !body.begun)) sendHead(client, status);
  const { bytes, whole } = moved ?? (await relayPieces(body, response, { end: !early }));
  if (!whole) {
    // the head is out: the only honest end of a broken answer is a broken connection. Closed in order, to an HTTP/1.0
    // client it would be the end of a whole answer
    socket.resetAndDestroy();
  } else if (early) {
    if (sentBody instanceof ClientBody) sentBody.destroy();
    void linger(client);
  }
  return bytes;
}

/** What Content-Length says, where nothing else frames the body; null where it says nothing. */
function plainLength(headers: readonly string[]): number | null {
  if (joinedHeader(headers, 'transfer-encoding') !== undefined) return null;
  const length = joinedHeader(headers, 'content-length') ?? '';
  return /^[0-9]+$/.test(length) && Number.isSafeInteger(Number(length)) ? Number(length) : null;
}

/** A copy of so many bytes costs less than a write of two pieces in one. */
const mostCopiedBytes = 16 * KiB;

/** Resolves with its length when the client's kernel has all of it, or the connection is gone. */
function sendWhole(response: ServerResponse, body: Buffer): Promise<number> {
  return new Promise((resolve) => {
    response.once('close', () => resolve(body.length));
    if (body.length === 0 || body.length > mostCopiedBytes) return void response.end(body);
    // one text goes out with its head in one piece; latin1 keeps every byte, of the head too
    response.write(body.toString('latin1'), 'latin1');
    // now, not with the end: Node writes that as a second piece, which is empty
    response.socket?.uncork();
    response.end();
  });
}

/** Resolves when the client's kernel has all of it, or with what it had when one of the two broke off. */
function relayPieces(
  body: AnswerBody,
  response: ServerResponse,
  { end }: { readonly end: boolean },
): Promise<{ readonly bytes: number; readonly whole: boolean }> {
  return new Promise((resolve) => {
    let bytes = 0;
    let whole = false;
    const over = (): void => {
      response.off('drain', onDrain);
      response.off('close', over);
      body.destroy();
      resolve({ bytes, whole });
    };
    const onDrain = (): void => body.resume();
    response.on('drain', onDrain);
    response.on('close', over);
    if (response.destroyed) return over();
    body.read({
      piece: (piece) => {
        bytes += piece.length;
        return response.write(piece);
      },
      end: () => {
        whole = true;
        if (end) response.end();
        else over();
      },
      failed: over,
    });
  });
}
