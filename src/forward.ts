import type { Config } from './config/config.ts';
import { clientLeft } from './core/body-error.ts';
import type { Bound } from './core/bound.ts';
import type { EndGate } from './core/end-gate.ts';
import type { Ending, Outcome } from './core/endings.ts';
import { GatewayError } from './core/errors.ts';
import type { Fetched } from './http/ask.ts';
import type { Client } from './http/client.ts';
import { probeClient } from './http/client-probe.ts';
import { type UpstreamAnswer, UpstreamLeg } from './http/upstream.ts';
import { inFrames, type Lane } from './lanes/lane.ts';
import type { Upload } from './registry.ts';
import { unlessAborted } from './unless-aborted.ts';
import type { ServerUse, UpstreamServer } from './upstream-server.ts';
import type { Errand, Upstreams } from './upstreams.ts';

/** What came of an upload: how it ended, what the ledger does with its bytes, and what the client is told. */
export interface Verdict {
  readonly ending: Ending;
  readonly outcome: Outcome;
  /** Of the `outcome` stored: how many bytes. */
  readonly storedBytes: number;
  /** The upstream's answer, or else an error of ours. */
  readonly told: UpstreamAnswer | Fetched | GatewayError;
}

export interface Forwarding {
  readonly client: Client;
  readonly upload: Upload;
  readonly lane: Lane;
  readonly config: Config;
  readonly upstreams: Upstreams;
  readonly errand: Errand;
  /** Told of each server before it is tried. */
  readonly onServer: (server: UpstreamServer) => void;
  readonly declaredBytes: number | null;
  /** As in `Passage`. */
  readonly endFollows: boolean;
  readonly method: string;
  readonly target: string;
  /** Without framing: that is written here. */
  readonly headers: readonly string[];
  readonly buffered: Bound;
  /** Bytes reserved at the start, and the way to more. */
  readonly reservedBytes: number;
  readonly growByChunk: () => Promise<number>;
  /** Brings the refusal of an API that was asked before; null where there is none. Rejects as `preflightUpload` does. */
  readonly preflight: (signal: AbortSignal) => Promise<Fetched | null>;
}

/**
 * Carries one upload to the upstream and brings its answer back. Never throws, and does not return before the upstream's
 * connection is gone: from then on nothing that was reserved can still be written.
 */
export async function forward(forwarding: Forwarding): Promise<Verdict> {
  const { client, upload, lane, config, declaredBytes, reservedBytes } = forwarding;
  const { progress } = upload;
  let leg: UpstreamLeg | null = null;
  let use: ServerUse | null = null;
  const wholeWithHead = declaredBytes === 0 && !inFrames(forwarding);
  const bodySent = (): boolean => progress.endSent || (leg !== null && wholeWithHead);
  const stopWatching = abortWhenClientLeaves(client, upload);
  const open = (expectation: readonly string[]): Promise<{ value: UpstreamLeg; use: ServerUse }> =>
    forwarding.upstreams.connect(forwarding.errand, async (server) => {
      forwarding.onServer(server);
      return await UpstreamLeg.open({
        origin: server.origin,
        method: forwarding.method,
        target: forwarding.target,
        headers: [...forwarding.headers, ...framing(forwarding), ...expectation, ...keepAlive],
        connectTimeoutMs: config.upstream.connectTimeoutMs,
        signal: upload.signal,
      });
    });
  // RFC 9110 §10.1.1: never for a request without content
  const expects = config.upload.preflight === 'expect' && declaredBytes !== 0;
  try {
    const refusal = await unlessAborted(upload.signal, forwarding.preflight(upload.signal));
    if (refusal !== null) {
      return { ending: 'refused', outcome: 'released', storedBytes: 0, told: refusal };
    }
    if (wholeWithHead) await claimed(upload.endGate, upload.signal);
    ({ value: leg, use } = await open(expects ? expect : []));
    if (expects && !(await leg.mayContinue(config.upload.continueWaitMs, upload.signal))) {
      const answer = await leg.answer(config.upstream.responseTimeoutMs, upload.signal);
      use.answered();
      if (answer.status !== 417) {
        const ended = afterAnswer(answer.status, config.api.success, false);
        return { ...ended, storedBytes: upload.reservedBytes, told: answer };
      }
      // the expectation was ours, so the client is not told of it: without one the request is another (RFC 9110 §15.5.18)
      await leg.reset();
      use.end();
      ({ value: leg, use } = await open([]));
    }
    // only now: a refusal, or an upstream that is down, has cost the client no byte of its body
    if (client.expectsContinue) client.response.writeContinue();
    await lane.carry({
      client: client.request,
      upstream: leg.socket,
      declaredBytes,
      endFollows: forwarding.endFollows,
      end: upload.endGate,
      maxBytes: config.upload.maxBytes,
      frameBytes: config.upload.frameBytes,
      chunkBytes: config.upload.chunkBytes,
      spliceFromBytes: config.upload.spliceFromBytes,
      flushAfterMs: config.upload.flushAfterMs,
      chunkTimeoutMs: config.upload.chunkTimeoutMs,
      clientSocketTimeoutMs: config.clientSocketTimeoutMs,
      leastRate: config.clientMinRate,
      timeLimit: config.upload.timeLimit,
      progress,
      allowedBytes: reservedBytes,
      allowMore: forwarding.growByChunk,
      buffered: forwarding.buffered,
      signal: upload.signal,
      interrupted: leg.interrupted,
    });
    if (bodySent()) leg.markBodySent();
    const answer = await leg.answer(config.upstream.responseTimeoutMs, upload.signal);
    use.answered();
    return {
      ...afterAnswer(answer.status, config.api.success, bodySent()),
      // a success that came before the body's end says that all of it is stored: nobody knows better
      storedBytes: bodySent() ? progress.sentBytes : upload.reservedBytes,
      told: answer,
    };
  } catch (thrown) {
    const error = asGatewayError(thrown);
    if (error.code === 'upstream-lost') use?.lost();
    return {
      ...afterFailure(error, bodySent()),
      storedBytes: 0,
      told: error,
    };
  } finally {
    stopWatching();
    await leg?.reset();
    use?.end();
  }
}

/**
 * Said although the connection is never used again: Glance under eventlet, asked to close, closes a refused upload
 * with its body unread, and its answer is lost in the reset. Asked to keep alive, it answers and reads on.
 */
const keepAlive = ['Connection', 'keep-alive'];

const expect = ['Expect', '100-continue'];

export function asGatewayError(thrown: unknown): GatewayError {
  if (thrown instanceof GatewayError) return thrown;
  return new GatewayError('internal', 'This is a defect of the gateway, and is in its log.', {
    cause: thrown,
  });
}

/**
 * An API that has all of the body, and then fails or claims some other success than the profile knows, may well have
 * stored it. One that refuses has not.
 */
function afterAnswer(
  status: number,
  success: readonly number[],
  bodySent: boolean,
): { ending: Ending; outcome: Outcome } {
  if (success.includes(status)) return { ending: 'stored', outcome: 'stored' };
  const refused = status >= 300 && status < 500;
  if (!bodySent || refused) return { ending: 'refused', outcome: 'released' };
  return { ending: 'unknown', outcome: 'unknown' };
}

/**
 * A body that was not sent to its end cannot have been stored. One that was may have been, whatever went wrong
 * afterwards: unless the image is gone, only the API knows.
 */
function afterFailure(error: GatewayError, bodySent: boolean): { ending: Ending; outcome: Outcome } {
  const ending = error.ending ?? 'unknown';
  if (!bodySent || ending === 'image-deleted') return { ending, outcome: 'released' };
  const upstreamsDoing = ending === 'upstream-lost' || ending === 'upstream-stalled';
  return { ending: upstreamsDoing ? 'unknown' : ending, outcome: 'unknown' };
}

/** Resolves when the end of a body that no lane carries may be sent; throws the signal's reason. */
async function claimed(end: EndGate, signal: AbortSignal): Promise<void> {
  while (!end.claim()) {
    const free = new Promise<void>((resolve) => {
      end.onFree = resolve;
    });
    await unlessAborted(signal, free);
  }
}

function framing(body: Pick<Forwarding, 'declaredBytes' | 'endFollows'>): string[] {
  return inFrames(body) ? ['Transfer-Encoding', 'chunked'] : ['Content-Length', String(body.declaredBytes)];
}

/** While the lane does not read, nobody else would notice. After the whole body it does not matter any more. */
function abortWhenClientLeaves(client: Client, upload: Upload): () => void {
  const { request, socket } = client;
  const onClose = (): void => {
    if (request.complete || upload.progress.endReceived) return;
    upload.abort(clientLeft(upload.progress.receivedBytes));
  };
  if (socket.destroyed) onClose();
  socket.once('close', onClose);
  const stopProbing = probeClient(client);
  return () => {
    stopProbing();
    socket.off('close', onClose);
  };
}
