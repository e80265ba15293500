import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AnswerPlan, answerPlan, plainAnswer } from './answer-plan.ts';
import { letGo } from './let-go.ts';
import { Random } from './random.ts';
import { type StrictRequest, StrictRequests } from './strict-request.ts';

/** One request of a case as it came here, and what was answered. */
export interface Played {
  readonly request: StrictRequest;
  readonly plan: AnswerPlan;
  /** The connection had carried another request before. */
  readonly reused: boolean;
  /** Bytes that nobody asked for were on their way on it: any answer may be taken for this one's. */
  readonly disturbed: boolean;
}

export interface UpstreamFault {
  readonly text: string;
  readonly token: string | null;
  /** All that came on the connection. */
  readonly bytes: Buffer;
}

/** What is kept of a connection to show where it was faulty. */
const keptBytes = 20_000;

/** Answers by the plan that the case's seed says, and holds every request against the strict reading. */
export class FuzzUpstream {
  /** By the token of the request. */
  readonly played = new Map<string, Played[]>();
  readonly faults: UpstreamFault[] = [];
  /** By the address of the client, in the order of their heads; the gateway's own questions not among them. */
  readonly received = new Map<string, StrictRequest[]>();
  requests = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #seed: number;
  /** Token to number of the case, while the case is under way. */
  readonly #open = new Map<string, { caseNumber: number; index: number }>();

  static async start(seed: number): Promise<FuzzUpstream> {
    const upstream = new FuzzUpstream(seed);
    upstream.#server.listen(0, '127.0.0.1', 4096);
    await once(upstream.#server, 'listening');
    return upstream;
  }

  private constructor(seed: number) {
    this.#seed = seed;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the upstream does not listen');
    return address.port;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  expect(token: string, caseNumber: number, index: number): void {
    this.#open.set(token, { caseNumber, index });
  }

  /** What was played for a request; later ones with its token are answered plainly. */
  finish(token: string): readonly Played[] {
    this.#open.delete(token);
    const played = this.played.get(token) ?? [];
    this.played.delete(token);
    return played;
  }

  async stop(): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, 'close');
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    let seen = Buffer.alloc(0);
    let token: string | null = null;
    let count = 0;
    /** What is played now, until its last byte is written. */
    let answering: AnswerPlan | null = null;
    let over = false;
    let unusable = false;
    /** Bytes that nobody asked for are on their way: what comes back to the next request nobody can tell. */
    let disturbed = false;
    let onWhole = (): void => {};
    const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    const fault = (text: string): void => {
      over = true;
      this.faults.push({ text, token, bytes: seen });
      socket.destroy();
    };
    const parser = new StrictRequests({
      head: (request) => {
        if (answering !== null && !disturbed)
          return fault('a request before the answer to the one in front of it');
        this.requests += 1;
        count += 1;
        token = request.fields.get('x-fuzz-case') ?? null;
        const plan = this.#plan(request, token, count > 1, disturbed);
        const number = count;
        const whole = new Promise<void>((resolve) => {
          onWhole = resolve;
        });
        if (unusable) return fault('a request on a connection that broke before');
        unusable = plan.after === 'unusable';
        answering = plan;
        const played = Promise.race([whole, gone]);
        void play(socket, plan, played, {
          written: () => {
            answering = null;
            if (plan.after === 'closed') over = true;
          },
          mayDisturb: () => {
            disturbed ||= number === count;
            return number === count;
          },
        });
      },
      whole: () => onWhole(),
      fault,
    });
    socket.on('data', (bytes: Buffer) => {
      if (seen.length < keptBytes) seen = Buffer.concat([seen, bytes.subarray(0, keptBytes)]);
      // what comes after our last answer is thrown away
      if (!over) parser.feed(bytes);
    });
    socket.on('end', () => {
      // an answer that is given already, or breaks off, is the end of the matter
      if (!parser.under || over || answering === null) return void socket.end();
      const plan = answering.name;
      // libuv tells a reset that comes together with data as an end; only one who has ended can be written to
      socket.write('\n', (error) => {
        if (!error) fault(`a cut request looks like one that ended (FIN); answer: ${plan}`);
        socket.destroy();
      });
    });
    socket.on('error', () => {});
  }

  #plan(request: StrictRequest, token: string | null, reused: boolean, disturbed: boolean): AnswerPlan {
    // the gateway's own question about an image carries the caller's fields
    const asked = request.method === 'GET' && request.fields.get('accept') === 'application/json';
    if (!asked) {
      const address = request.fields.get('x-forwarded-for') ?? '';
      this.received.set(address, [...(this.received.get(address) ?? []), request]);
    }
    const known = token === null ? undefined : this.#open.get(token);
    if (token === null || known === undefined || asked) return plainAnswer(request);
    const before = this.played.get(token) ?? [];
    const random = new Random(this.#seed, known.caseNumber, 1 + known.index, 1 + before.length);
    const drawn = answerPlan(random, request, token);
    const plan: AnswerPlan = disturbed ? { ...drawn, reading: 'loose' } : drawn;
    this.played.set(token, [...before, { request, plan, reused, disturbed }]);
    return plan;
  }
}

interface PlayEvents {
  /** With the last byte: the next request may come before anything else is done here. */
  written(): void;
  /** False where the next request is here already. */
  mayDisturb(): boolean;
}

async function play(
  socket: Socket,
  plan: AnswerPlan,
  whole: Promise<void>,
  { written, mayDisturb }: PlayEvents,
): Promise<void> {
  if (!plan.early) await whole;
  const lastWrite = plan.steps.findLastIndex((step) => 'write' in step);
  if (lastWrite === -1 && plan.steps.length > 0) written();
  for (const [i, step] of plan.steps.entries()) {
    if (socket.destroyed) return;
    if (i === lastWrite) written();
    if ('write' in step) socket.write(step.write);
    else if ('late' in step) {
      if (mayDisturb()) socket.write(step.late);
    } else if ('pauseMs' in step) await sleep(step.pauseMs);
    else if (step.end === 'fin') socket.end();
    else letGo(socket);
  }
}
