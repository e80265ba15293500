import { z } from 'zod';
import { eventually } from '../support/eventually.ts';
import { type ClientCase, clientCase } from './client-case.ts';
import { playClient, type Seen } from './fuzz-client.ts';
import { FuzzUpstream, type Played } from './fuzz-upstream.ts';
import { GatewayProcess } from './gateway-process.ts';
import type { LegalRequest } from './legal-requests.ts';
import type { StrictResponse } from './strict-response.ts';
import { sameBody, uncleanForward } from './unclean-forward.ts';

/** What a run has seen in all. */
export interface FuzzTotals {
  cases: number;
  /** Requests that the clients wrote, whole or not. */
  sent: number;
  /** Requests that reached the upstream. */
  forwarded: number;
  answers: Map<string, number>;
  failures: string[];
}

export interface FuzzOptions {
  readonly seed: number;
  /** Cases, from `first` on. */
  readonly first: number;
  readonly requests: number;
  /** Told after each batch. */
  readonly progress?: (totals: FuzzTotals) => void;
}

const clientsAtOnce = 48;
const casesPerBatch = 1_000;
/** Whatever comes after so many is no news. */
const mostFailures = 10;

/** Descriptors that come and go: answers to our own questions of the admin listener, the pool's. */
const spare = 8;

/** Deadlines so short that a stalled case costs little, and so long that a busy machine meets them. */
const configuration = (upstreamPort: number): string => `
upstream:
  servers: ["http://127.0.0.1:${upstreamPort}"]
  response_timeout: 2s
  health: { interval: 0 }
client_socket_timeout: 2s
client_header_timeout: 2s
lingering: { time: 500ms, bytes: 1MiB }
upload: { watch_interval: 0, chunk_timeout: 2s, flush_after: 20ms, frame_size: 64KiB }
orphans: { interval: 0 }
quota: { usage: { source: none }, limits: [{ per: user, saving: 1TiB, uploads: 1000 }] }
`;

/** Plays cases until as many requests were sent as asked for, or too many cases have failed. */
export async function fuzz(options: FuzzOptions): Promise<FuzzTotals> {
  const { seed, first, requests } = options;
  const totals: FuzzTotals = { cases: 0, sent: 0, forwarded: 0, answers: new Map(), failures: [] };
  const upstream = await FuzzUpstream.start(seed);
  const gateway = await GatewayProcess.start(configuration(upstream.port));
  const openAtFirst = gateway.descriptors();
  const over = (): boolean => totals.sent >= requests || totals.failures.length >= mostFailures;
  try {
    for (let next = first; !over(); ) {
      const end = next + casesPerBatch;
      const batch: Batch = { openAtFirst, played: new Map() };
      const client = async (): Promise<void> => {
        while (next < end && !over()) {
          const fuzzCase = clientCase(seed, next);
          next += 1;
          totals.cases += 1;
          totals.sent += fuzzCase.requests.length;
          const failure = await playCase(fuzzCase, gateway, upstream, totals, batch);
          if (failure !== null) totals.failures.push(`${failure}\n${described(seed, fuzzCase)}`);
        }
      };
      await Promise.all(Array.from({ length: clientsAtOnce }, client));
      await checkGateway(gateway, upstream, totals, batch);
      for (const failure of uncleanForwards(seed, batch, upstream)) totals.failures.push(failure);
      options.progress?.(totals);
      if (gateway.ended !== null) break;
    }
    totals.forwarded = upstream.requests;
    return totals;
  } finally {
    await gateway.kill();
    await upstream.stop();
  }
}

interface Batch {
  /** Descriptors of the gateway before the first case. */
  readonly openAtFirst: number;
  /** By the address of the client. */
  readonly played: Map<string, { readonly fuzzCase: ClientCase; readonly legal: readonly LegalRequest[] }>;
}

async function playCase(
  fuzzCase: ClientCase,
  gateway: GatewayProcess,
  upstream: FuzzUpstream,
  totals: FuzzTotals,
  batch: Batch,
): Promise<string | null> {
  for (const [index, { token }] of fuzzCase.requests.entries())
    upstream.expect(token, fuzzCase.number, index);
  const seen = await playClient(gateway.port, fuzzCase);
  batch.played.set(fuzzCase.address, { fuzzCase, legal: seen.legal });
  const played = fuzzCase.requests.map(({ token }) => upstream.finish(token));
  for (const response of seen.responses) {
    const name = `${response.fields.has('x-fuzz-answer') ? 'relayed' : 'own'} ${response.status}`;
    totals.answers.set(name, (totals.answers.get(name) ?? 0) + 1);
  }
  const wrong = judged(fuzzCase, seen, played);
  if (wrong === null) return null;
  const plans = played.map(
    (each) =>
      each
        .map(({ plan, request }) => `${request.method} ${request.target}: ${plan.name} (${plan.reading})`)
        .join(' | ') || 'not forwarded',
  );
  return `${wrong}\n  upstream: ${plans.join('; ')}\n  client: ${seen.ended}, received ${shown(seen.received)}`;
}

const problem = z.object({ code: z.string(), status: z.number() });

/** What is wrong with what the client saw; null where nothing is. */
function judged(fuzzCase: ClientCase, seen: Seen, played: readonly (readonly Played[])[]): string | null {
  if (seen.ended === 'hang') return 'nobody ended the connection';
  // bytes that came while the next request was on its way: nobody can tell them from its answer
  if (seen.received.includes('X-Fuzz-Answer: unasked-later')) return null;
  if (seen.fault !== null) return `the client got what no strict client takes: ${seen.fault}`;
  for (const response of seen.responses) {
    const wrong = answerFault(fuzzCase, response, played);
    if (wrong !== null) return wrong;
  }
  if (!fuzzCase.clean) return null;
  return cleanFault(fuzzCase, seen, played);
}

function answerFault(
  { requests }: ClientCase,
  response: StrictResponse,
  played: readonly (readonly Played[])[],
): string | null {
  const mark = response.fields.get('x-fuzz-answer');
  if (mark === 'plain') return null;
  if (mark !== undefined) {
    const index = requests.findIndex(({ token }) => token === mark);
    if (index === -1 && played.flat().some(({ disturbed }) => disturbed)) return null;
    if (index === -1) return `the client got the answer to another request: ${mark}`;
    const plans = (played[index] ?? []).map(({ plan }) => plan);
    if (plans.some(({ reading }) => reading === 'loose')) return null;
    const one = plans.find(
      ({ reading, status, body }) =>
        reading === 'whole' && status === response.status && body.equals(response.body),
    );
    if (one !== undefined) return null;
    return plans.every(({ reading }) => reading === 'broken')
      ? 'the client got a whole answer where the upstream gave a broken one'
      : `the client got another answer than the upstream gave: ${response.body.length} bytes, not ${plans.map(({ status, body }) => `${status} ${body.length}`)}`;
  }
  // a broken head may have lost its mark
  if (played.flat().some(({ plan }) => plan.reading === 'loose')) return null;
  if (response.body.length === 0) return null;
  try {
    const { code, status } = problem.parse(JSON.parse(response.body.toString()));
    if (status !== response.status) return `an error says ${status} and is ${response.status}`;
    return code === 'internal' ? 'the gateway made a mistake' : null;
  } catch {
    return 'the client got an answer that nobody gave';
  }
}

/** What well-behaved clients may count on. */
function cleanFault(
  { requests }: ClientCase,
  seen: Seen,
  played: readonly (readonly Played[])[],
): string | null {
  for (const [i, { token, payload, upload }] of requests.entries()) {
    const all = played[i] ?? [];
    const response = seen.responses[i];
    const [one, ...others] = all;
    if (upload && others.length > 0) return 'an upload was sent twice';
    if (one === undefined)
      return response?.status === 502 && !upload ? null : 'a clean request was not forwarded';
    const { request, plan, reused } = one;
    if (request.whole && payload.length > 0 && !sameBody(Buffer.concat(request.pieces), payload))
      return 'the upstream got another body';
    if (plan.reading !== 'whole') return null;
    // the connection that it went over was being closed
    if (response?.status === 502 && !upload && reused) return null;
    if (response === undefined) return 'a whole answer did not reach the client';
    if (response.fields.get('x-fuzz-answer') !== token)
      return `a whole answer of the upstream became ${response.status}`;
    if (response.fields.get('connection')?.toLowerCase() === 'close') return null;
  }
  return null;
}

/** After a batch nothing is left of it. */
async function checkGateway(
  gateway: GatewayProcess,
  upstream: FuzzUpstream,
  totals: FuzzTotals,
  { openAtFirst }: Batch,
): Promise<void> {
  const note = (text: string): void => {
    totals.failures.push(text);
  };
  for (const { text, token, bytes } of upstream.faults.splice(0)) {
    note(`the upstream got what no strict server takes: ${text}\n  request ${token}: ${shown(bytes)}`);
  }
  for (const line of gateway.defects.splice(0)) note(`the log of the gateway says: ${line}`);
  if (gateway.ended !== null) return note(`the gateway ended: ${gateway.ended}`);
  try {
    const healthy = await gateway.health();
    if (healthy !== 200) note(`/healthz answers ${healthy}`);
    await leftNothing(gateway, upstream, openAtFirst);
  } catch (error) {
    note(error instanceof Error ? error.message : String(error));
  }
}

/** Bytes of unknown outcome are asked for after 250 ms, then after twice that, and so on. */
async function leftNothing(
  gateway: GatewayProcess,
  upstream: FuzzUpstream,
  openAtFirst: number,
): Promise<void> {
  const rounds = 4;
  for (let round = 1; ; round += 1) {
    try {
      await eventually(async () => {
        const left = {
          ...(await gateway.uploads()),
          connections: await gateway.metric('sluice_connections'),
          moreDescriptors: Math.max(0, gateway.descriptors() - openAtFirst - upstream.connections - spare),
        };
        if (Object.values(left).every((count) => count === 0)) return true;
        throw new Error(JSON.stringify(left));
      }, 'nothing is left of a batch');
      return;
    } catch (error) {
      if (round === rounds) throw error;
    }
  }
}

/** Every request that the upstream got has to be one of its client's. */
function* uncleanForwards(seed: number, { played }: Batch, upstream: FuzzUpstream): Generator<string> {
  for (const [address, received] of upstream.received) {
    const one = played.get(address);
    const lines = received.map(({ method, target }) => `${method} ${target}`).join(', ');
    // a connection that was reset at once has no address any more
    if (one === undefined && address === 'unknown') continue;
    if (one === undefined) yield `the upstream got requests of nobody: ${address} ${lines}`;
    else {
      const wrong = uncleanForward(one.legal, received);
      if (wrong !== null) yield `${wrong}\n  the upstream got ${lines}\n${described(seed, one.fuzzCase)}`;
    }
  }
  upstream.received.clear();
}

/** All that is needed to play one case alone. */
function described(seed: number, { number, pieces, farewell, mutations }: ClientCase): string {
  return (
    `  mutations: ${mutations.join(', ') || 'none'}; then ${farewell}\n` +
    `  wire: ${pieces.map((piece) => shown(piece)).join('\n        ')}\n` +
    `  again: SLUICE_FUZZ_SEED=${seed} SLUICE_FUZZ_CASE=${number} npm run test:fuzz`
  );
}

function shown(bytes: Buffer): string {
  const most = 600;
  const text = JSON.stringify(bytes.subarray(0, most).toString('latin1'));
  return bytes.length > most ? `${text} and ${bytes.length - most} bytes more` : text;
}
