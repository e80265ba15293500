import { type AccessRecord, newRecord } from './access.ts';
import type { Metrics } from './admin/metrics.ts';
import type { Admission, Admitted } from './admission.ts';
import type { Config } from './config/config.ts';
import { type ErrorCode, GatewayError } from './core/errors.ts';
import { type BodyFraming, bodyFraming, uploadLength } from './core/framing.ts';
import { answeredRequestId, joinedHeader, type RawHeaders } from './core/headers.ts';
import { classify, type Operation } from './core/operation.ts';
import { changingActions } from './core/profile.ts';
import { asGatewayError, forward, type Verdict } from './forward.ts';
import { type Answer, errorAnswer, relayedAnswer, send } from './http/answer.ts';
import { type Client, schemeOf } from './http/client.ts';
import { openBody } from './http/client-body.ts';
import type { Refusal } from './http/listener.ts';
import type { Networks } from './http/networks.ts';
import { passThrough } from './http/passthrough.ts';
import type { Identified, Identity } from './identity/identity.ts';
import type { ImageAccess } from './image-access.ts';
import type { ImageLookup, Operator } from './image-lookup.ts';
import type { Imports, MeteredImport } from './imports.ts';
import { isJudged, type Judgement, judge, readsBody } from './judgement.ts';
import type { LaneChoice } from './lanes/lane-choice.ts';
import { type Log, logAccess } from './log.ts';
import type { Overload, Place, Weight } from './overload.ts';
import { type Payers, tokenRestricted } from './payer.ts';
import type { RateLimits } from './rate-limits.ts';
import type { Registry, Upload } from './registry.ts';
import { checkHead, headUpstream } from './request-head.ts';
import type { Resolution } from './resolution.ts';
import { RequestTrace, type UpstreamCall } from './tracing.ts';
import { preflightUpload } from './upload-preflight.ts';
import type { UpstreamServer } from './upstream-server.ts';
import type { Errand, Upstreams } from './upstreams.ts';
import type { KnownImages } from './usage/known-images.ts';
import type { Caller } from './usage/usage.ts';
import { watchImage } from './watch.ts';

/** What every exchange of one configuration works with. A reload makes new ones; running exchanges keep theirs. */
export interface Services {
  readonly config: Config;
  /** This process, as `Via` names it. */
  readonly pseudonym: string;
  readonly identity: Identity;
  readonly trustedProxies: Networks;
  readonly rateLimits: RateLimits;
  readonly payers: Payers;
  readonly imageAccess: ImageAccess;
  readonly admission: Admission;
  readonly imports: Imports;
  readonly lanes: LaneChoice;
  readonly overload: Overload;
  readonly registry: Registry;
  readonly upstreams: Upstreams;
  readonly lookup: ImageLookup;
  /** Null where the gateway has no account of its own. */
  readonly operator: Operator | null;
  readonly knownImages: KnownImages;
  readonly resolution: Resolution;
  readonly metrics: Metrics;
  readonly log: Log;
}

/**
 * A delete waits this long for uploads of its image whose end came first, and the deleter's answer again as long for those
 * that it has ended (design §5).
 */
const longestWaitMs = 5_000;

interface Classified {
  readonly operation: Operation;
  readonly framing: BodyFraming;
  readonly headers: readonly string[];
  readonly trace: RequestTrace;
}

/** Codes of errors that say: nobody says who sends this. */
const namesNobody: ReadonlySet<ErrorCode> = new Set(['identity-missing', 'token-missing']);

interface Known extends Classified {
  /** Null where nobody has to pay. */
  readonly who: Identified | null;
}

/**
 * The life of a request: classify, identify, admit, forward, settle, answer. What is not an upload skips admit
 * and settle. Whatever happens, it ends here, in one answer and one line of the log. Never throws.
 */
export async function exchange(services: Services, client: Client): Promise<void> {
  const { request, headers, socket } = client;
  const { method = '', httpVersion } = request;
  const trace = new RequestTrace({ headers, method, httpVersion, scheme: schemeOf(socket) });
  await trace.within(() => live(services, client, trace));
}

async function live(services: Services, client: Client, trace: RequestTrace): Promise<void> {
  const beganMs = performance.now();
  const record = newRecord(client.requestId, client.request.method ?? '');
  record.traceId = trace.traceId;
  let place: Place | null = null;
  try {
    const classified = classifyRequest(services, client, record, trace);
    // before anything that costs: whoever is refused here has asked nobody anything
    place = services.overload.begin(weightOf(classified.operation));
    const { action } = classified.operation;
    const { rateLimits } = services;
    if (rateLimits.any) await rateLimits.byAddress(client, action, record.client);
    const nobody = !mustPay(services, classified) && !rateLimits.needOwner(client, action);
    const known = nobody
      ? { ...classified, who: null }
      : await identify(services, client, classified, record);
    if (known.who !== null && rateLimits.any) await rateLimits.byOwner(client, action, known.who);
    if (isUpload(known.operation)) await upload(services, client, known, record);
    else await pass(services, client, known, record, place);
  } catch (thrown) {
    await refuse(services, client, asGatewayError(thrown), record);
  } finally {
    place?.release();
    conclude(services, record, performance.now() - beganMs);
    trace.end(record);
  }
}

/** Counts a request that is over, and writes its line. */
export function conclude({ config, metrics, log }: Services, record: AccessRecord, durationMs: number): void {
  metrics.requestDone(record, durationMs / 1000);
  if (config.log.access) logAccess(log, record, durationMs);
}

/** Counts and logs what a listener refused before there was a request to exchange. */
export function recordRefusal(
  services: Services,
  { error, requestId, peerAddress, method, answeredBytes }: Refusal,
): void {
  const record = newRecord(requestId, method);
  record.client = peerAddress;
  record.error = error.code;
  if (answeredBytes !== null) {
    record.status = error.status;
    record.answeredBytes = answeredBytes;
  }
  conclude(services, record, 0);
}

function classifyRequest(
  services: Services,
  client: Client,
  record: AccessRecord,
  trace: RequestTrace,
): Classified {
  const { config, upstreams } = services;
  const { request, headers } = client;
  const told = checkHead(services, client, record);
  const framing = bodyFraming({ rawHeaders: headers, httpVersion: request.httpVersion });
  const operation = classify(config.api, {
    method: request.method ?? '',
    target: request.url ?? '',
    accept: joinedHeader(headers, 'accept'),
  });
  record.action = operation.action;
  record.route = operation.route;
  record.image = operation.image;
  const kept = headUpstream(services, client, {
    told,
    requestId: record.requestId,
    trace: trace.incoming,
    // an HTTP/1.0 client need not name one, but the request upstream is HTTP/1.1
    host: upstreams.host,
  });
  if (isUpload(operation) && framing.kind === 'chunked')
    services.lanes.of(services.config.upload.lane).prepare(request);
  return { operation, framing, headers: trace.propagated(kept), trace };
}

/** Who reads or deletes is for the API to judge; only who uploads has to pay here. */
function mustPay({ payers }: Services, { operation }: Classified): boolean {
  return isUpload(operation) || (operation.action === 'import' && payers.matter);
}

async function identify(
  services: Services,
  client: Client,
  classified: Classified,
  record: AccessRecord,
): Promise<Known> {
  try {
    const who = await whoIs(services.identity, client, classified.operation, record);
    return { ...classified, who };
  } catch (error) {
    // who is nobody has to be refused by the API, or may do this: versions are looked up without identity
    if (mustPay(services, classified) || !(error instanceof GatewayError) || !namesNobody.has(error.code))
      throw error;
    return { ...classified, who: null };
  }
}

async function whoIs(
  identity: Identity,
  { headers, peerAddress, request }: Client,
  operation: Operation,
  record: AccessRecord,
): Promise<Identified> {
  const [path = ''] = operation.target.split('?');
  const who = await identity.identify({ headers, peerAddress, method: request.method ?? '', path });
  record.user = who.user;
  record.project = who.project;
  return who;
}

/** One writer for each image, where stored bytes are limited: data comes in when no change of the record is under way. */
async function upload(services: Services, client: Client, known: Known, record: AccessRecord): Promise<void> {
  const { image } = known.operation;
  const waits = image !== null && services.payers.matter;
  const fill: Fill = { end: waits ? await services.imageAccess.fill(image) : () => {}, kept: false };
  try {
    await admitAndForward(services, client, known, record, fill);
  } finally {
    if (!fill.kept) fill.end();
  }
}

/** The right to bring data into an image. Kept past the request where the API may still be at it. */
interface Fill {
  readonly end: () => void;
  kept: boolean;
}

async function admitAndForward(
  services: Services,
  client: Client,
  { operation, framing, headers, who, trace }: Known,
  record: AccessRecord,
  fill: Fill,
): Promise<void> {
  const { config, payers, admission, registry, lanes } = services;
  const lane = lanes.of(config.upload.lane);
  if (who === null || operation.image === null) throw new Error('an upload without owner or image');
  const { sizeHeader } = config.api;
  const { declaredBytes } = uploadLength(
    framing,
    sizeHeader === null ? undefined : joinedHeader(client.headers, sizeHeader),
  );
  refuseTooLarge(declaredBytes, config.upload.maxBytes);
  const id = registry.newId();
  record.upload = id;
  record.lane = lane.name;
  const caller = await callerFor(services, who, headers);
  const paying = await payers.payer(operation.image, who, caller);
  if ('answer' in paying) {
    record.ending = 'refused';
    return await relay(services, client, paying.answer, record);
  }
  const { owner, looked } = paying;
  const { image } = operation;
  record.project = owner.project;
  const admitted = await admission
    .admit(config, { id, owner, declaredBytes, caller })
    .catch((error: unknown) => {
      const refused = error instanceof GatewayError && error.code === 'credentials-refused';
      throw refused && who.restricted ? tokenRestricted() : error;
    });
  const upload = registry.begin(id, {
    image,
    owner,
    declaredBytes,
    client: record.client,
  });
  upload.reservedBytes = admitted.reservation.bytes;
  client.onBroken = (error) => {
    // what comes behind a body that was received whole is not its business
    if (!upload.progress.endReceived) upload.abort(error);
  };
  let verdict: Verdict | null = null;
  const method = client.request.method ?? '';
  let call: UpstreamCall | null = null;
  const stopWatch = watchImage(upload, services.lookup, caller, config.upload.watchIntervalMs);
  try {
    const spanned = trace.call(method, operation, headers);
    call = spanned;
    verdict = await forward({
      client,
      upload,
      lane,
      config,
      upstreams: services.upstreams,
      errand: operation.action === 'stage' ? { kind: 'stage', image: operation.image } : { kind: 'upload' },
      onServer: (server) => {
        upload.server = server.origin;
        noteServer(server, record, spanned);
      },
      declaredBytes,
      endFollows: framing.kind === 'chunked',
      method,
      target: operation.target,
      headers: call.headers,
      buffered: services.overload.buffered,
      reservedBytes: admitted.reservation.bytes,
      growByChunk: async () => {
        upload.reservedBytes = await admitted.growByChunk();
        return upload.reservedBytes;
      },
      preflight: (signal) => preflightUpload({ ...services, image, who, caller, imageSeen: looked, signal }),
    });
    if (operation.action === 'stage' && verdict.outcome !== 'released')
      services.upstreams.stagedOn(image, upload.server);
    if (verdict.told instanceof GatewayError) call.failed(verdict.told.code);
    else call.answered(verdict.told.status);
  } finally {
    call?.end();
    stopWatch();
    client.onBroken = null;
    await settle(services, { upload, admitted, verdict, caller, fill });
    record.receivedBytes = upload.progress.receivedBytes;
    record.sentBytes = upload.progress.sentBytes;
    record.lane = upload.lane;
  }
  record.ending = verdict.ending;
  if (verdict.told instanceof GatewayError) {
    await refuse(services, client, verdict.told, record);
    return;
  }
  await relay(services, client, verdict.told, record);
}

/**
 * In whose name the gateway asks about the image and what is stored: the caller's, so that it needs no power of its own.
 * Only a token that may do some requests and no others is spared, where there is an account that sees everything.
 */
async function callerFor(
  { operator }: Services,
  who: Identified,
  headers: readonly string[],
): Promise<Caller> {
  if (who.restricted && operator !== null && (await operator.seesEverything()))
    return await operator.caller();
  return { headers, project: who.project };
}

/** Sends an answer of the API on, which is held whole. */
async function relay(
  { metrics }: Services,
  client: Client,
  answer: Answer,
  record: AccessRecord,
): Promise<void> {
  if (!client.socket.destroyed) {
    record.status = answer.status;
    record.answeredBytes = answer.body.length;
  }
  identifyAnswer(client, answer.headers, record);
  await send(client, relayedAnswer(answer), (delivered) => metrics.earlyAnswer(answer.status, delivered));
}

function identifyAnswer(client: Client, answered: RawHeaders, record: AccessRecord): void {
  client.answerFields.push(...requestIdFields(answered, record));
}

/**
 * Every answer has a request id: the API's own, which its log goes by, or else ours.
 * @param answered the headers of the API's answer.
 * @returns what is added to them.
 */
export function requestIdFields(answered: RawHeaders, record: AccessRecord): RawHeaders {
  const id = answeredRequestId(answered);
  if (id === null) return ['X-Openstack-Request-Id', record.requestId];
  if (id !== record.requestId) record.upstreamRequestId = id;
  return [];
}

interface Settlement {
  readonly upload: Upload;
  readonly admitted: Admitted;
  /** Null where forwarding itself broke. */
  readonly verdict: Verdict | null;
  readonly caller: Caller;
  readonly fill: Fill;
}

/** The bytes of an upload find their place, once, and its end is told to whoever waits for it. */
async function settle(
  { config, resolution, lookup, knownImages, metrics }: Services,
  { upload, admitted: { reservation }, verdict, caller, fill }: Settlement,
): Promise<void> {
  const outcome = verdict?.outcome ?? 'released';
  try {
    if (outcome !== 'released') {
      const bytes = outcome === 'stored' ? (verdict?.storedBytes ?? 0) : 0;
      knownImages.add(upload.start.owner.project, upload.start.image, bytes);
    }
    await reservation.settle(outcome, verdict?.storedBytes ?? 0);
    metrics.ledgerOperation('settle', outcome);
    if (outcome !== 'unknown') return;
    fill.kept = true;
    resolution.begin(reservation, {
      upload,
      caller,
      lookup,
      holdMs: config.upload.unknownHoldMs,
      confirmMs: config.upload.unknownConfirmMs,
      onEnd: fill.end,
    });
  } finally {
    upload.end();
  }
}

async function pass(
  services: Services,
  client: Client,
  known: Known,
  record: AccessRecord,
  place: Place,
): Promise<void> {
  const { operation } = known;
  const judged = readsBody(operation)
    ? await judge(services.config, client, operation, known.framing, place.hold)
    : null;
  if (judged?.givesAway && services.payers.matter && services.payers.knowsProjects) {
    services.payers.refuseGift(known.who ?? (await whoIs(services.identity, client, operation, record)));
  }
  if (operation.image === null || !changesRecord(services, operation))
    return await passJudged(services, client, known, judged, record);
  const endChange = services.imageAccess.change(operation.image);
  let mayGoOn = false;
  try {
    await passJudged(services, client, known, judged, record, () => {
      mayGoOn = true;
    });
  } finally {
    endChange(!mayGoOn);
  }
}

/** @param onLost called when the request is over here, but the API may still be at it. */
async function passJudged(
  services: Services,
  client: Client,
  known: Known,
  judged: Judgement | null,
  record: AccessRecord,
  onLost: () => void = () => {},
): Promise<void> {
  const { operation, framing, headers, trace } = known;
  const streamed = judged === null ? openBody(client, framing, services.config.maxBodyBytes) : null;
  const method = client.request.method ?? '';
  const metered = judged === null ? null : await meterImport(services, client, known, judged, record);
  if (metered === 'answered') return;
  const deleted = operation.action === 'delete' ? operation.image : null;
  const endHold = deleted === null ? null : services.registry.holdEnds(deleted);
  // until the API has said no, an import may be under way, whatever breaks
  let begun = true;
  let call: UpstreamCall | null = null;
  try {
    const spanned = trace.call(method, operation, headers);
    call = spanned;
    const request = {
      method,
      target: operation.target,
      headers: call.headers,
      body: judged?.body ?? streamed,
    };
    const passed = await passThrough(
      client,
      request,
      async (signal) => {
        if (endHold !== null) await atMost(longestWaitMs, endHold.othersOver());
        const { answer, use } = await services.upstreams.send(
          errandOf(services.registry, operation, judged),
          request,
          signal,
          (server) => noteServer(server, record, spanned),
        );
        return { answer, end: () => use.end() };
      },
      {
        beforeAnswer: (status, answered) => {
          // a proxy before the API answers so when it has waited long enough
          if (status === 502 || status === 504) onLost();
          if (!client.socket.destroyed) record.status = status;
          call?.answered(status);
          const success = status >= 200 && status < 300;
          begun = success || status >= 500;
          const told = (): void => {
            endHold?.release();
            identifyAnswer(client, answered, record);
          };
          if (deleted === null || !success) return told();
          return cancelUploadsOf(services.registry, deleted).then(told);
        },
        moveBody: (_, { body, socket }, bytes) =>
          services.lanes.download(services.config, { client, body, source: socket, bytes }),
        // the API deletes or changes, whether or not somebody waits to hear of it; and a change is under way until it
        // has answered
        finishes: deleted !== null || changesRecord(services, operation),
        lost: async () => {
          onLost();
          if (deleted !== null) await services.registry.lookAtImage(deleted);
        },
      },
    );
    record.answeredBytes = passed.bytesToClient;
  } catch (thrown) {
    call?.failed(asGatewayError(thrown).code);
    throw thrown;
  } finally {
    endHold?.release();
    call?.end();
    if (begun) metered?.began(record.upstream);
    else await metered?.refused();
  }
  record.receivedBytes = (judged ?? streamed)?.receivedBytes ?? 0;
}

/** Which servers will do for a request that is no upload. */
function errandOf(registry: Registry, { action, image }: Operation, judged: Judgement | null): Errand {
  if (image === null) return { kind: 'other' };
  if (action === 'delete') return { kind: 'delete', image, uploadingTo: registry.serverOf(image) };
  if (action !== 'import') return { kind: 'other' };
  return { kind: 'import', image, staged: judged?.imported?.method === 'glance-direct' };
}

function noteServer({ host, origin }: UpstreamServer, record: AccessRecord, call: UpstreamCall): void {
  record.upstream = host;
  call.sentTo(origin);
}

/** Sets aside what an import adds. `answered`: the API has no such image for the caller, who was told so. */
async function meterImport(
  services: Services,
  client: Client,
  { operation, headers, who }: Known,
  { imported }: Judgement,
  record: AccessRecord,
): Promise<MeteredImport | 'answered' | null> {
  const { config, payers, imports } = services;
  const { image } = operation;
  if (imported === null || image === null || who === null || !payers.matter) return null;
  const caller = await callerFor(services, who, headers);
  const paying = await payers.payer(image, who, caller);
  if ('answer' in paying) {
    await relay(services, client, paying.answer, record);
    return 'answered';
  }
  record.project = paying.owner.project;
  return await imports.admit(config, { image, imported, owner: paying.owner, caller, client: record.client });
}

/** The image is gone: its uploads end, and the deleter's answer waits until their bytes are back, but not for ever. */
async function cancelUploadsOf(registry: Registry, image: string): Promise<void> {
  const reason = new GatewayError('image-deleted', `The image ${image} is deleted.`, {
    ending: 'image-deleted',
  });
  await atMost(longestWaitMs, registry.cancelImage(image, reason));
}

/** Waits for what never fails, but not for ever. */
async function atMost(ms: number, waited: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const bound = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([waited, bound]);
  clearTimeout(timer);
}

/** Codes of requests that two servers may read in two ways: what follows on the connection may be no request at all. */
const notPlainHttp: ReadonlySet<ErrorCode> = new Set([
  'request-invalid',
  'header-invalid',
  'headers-too-large',
  'length-invalid',
  'coding-unsupported',
  'target-invalid',
  'target-ambiguous',
]);

/** Answers with an error of ours, if the client is still there to read it. */
async function refuse(
  { log, metrics }: Services,
  client: Client,
  error: GatewayError,
  record: AccessRecord,
): Promise<void> {
  // what has no cause of its own was said where it happened
  if (error.code === 'internal' && error.cause !== undefined)
    log.error({ request_id: record.requestId, err: error.cause }, 'defect');
  record.error = error.code;
  record.ending ??= record.upload === null ? null : error.ending;
  const answer = errorAnswer(error, record.requestId, joinedHeader(client.headers, 'user-agent') ?? '');
  if (!client.socket.destroyed) {
    record.status = error.status;
    record.answeredBytes = answer.body.length;
  }
  if (notPlainHttp.has(error.code)) client.response.shouldKeepAlive = false;
  await send(client, answer, (delivered) => {
    if (record.upload !== null) metrics.earlyAnswer(error.status, delivered);
  });
}

/** Whether the API saves the record of an image, where data that comes in meanwhile could get lost by that. */
function changesRecord({ payers }: Services, { action }: Operation): boolean {
  return payers.matter && changingActions.includes(action);
}

function weightOf(operation: Operation): Weight {
  if (isUpload(operation)) return 'upload';
  return isJudged(operation) ? 'judged' : 'other';
}

function isUpload({ action }: Operation): boolean {
  return action === 'upload' || action === 'stage';
}

function refuseTooLarge(declaredBytes: number | null, maxBytes: number): void {
  if (declaredBytes === null || maxBytes === 0 || declaredBytes <= maxBytes) return;
  const detail = `An upload may have ${maxBytes} bytes; ${declaredBytes} were announced.`;
  const facts = { requested: declaredBytes, limit: maxBytes };
  throw new GatewayError('too-large', detail, { ending: 'too-large', facts });
}
