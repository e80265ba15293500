import type { LRUCache } from 'lru-cache';
import type { GatewayError } from './core/errors.ts';
import type { RawHeaders } from './core/headers.ts';
import { eligible, leastLoaded } from './core/server-choice.ts';
import type { EjectionRules } from './core/server-health.ts';
import { asGatewayError } from './forward.ts';
import { AnswerDeadline } from './http/answer-deadline.ts';
import { type Fetched, readWhole } from './http/ask.ts';
import {
  type ConnectionPool,
  type FailedAttempt,
  mayRepeat,
  neverArrived,
  type PassedAnswer,
  type PassedRequest,
} from './http/connection-pool.ts';
import type { GiveUp } from './http/give-up.ts';
import { rendezvousOrder } from './rendezvous.ts';
import type { Load, ServerUse, UpstreamServer } from './upstream-server.ts';

/** A server, and the connections to it that are kept. */
export interface Member {
  readonly server: UpstreamServer;
  readonly pool: ConnectionPool;
}

/** What is sent, as far as the choice of its server goes by it. */
export type Errand =
  | { readonly kind: 'upload' | 'other' }
  | { readonly kind: 'stage'; readonly image: string }
  /** `staged`: it needs what was staged, so no other server will do. */
  | { readonly kind: 'import'; readonly image: string; readonly staged: boolean }
  /** `uploadingTo`: the origin of the server that an upload of the image is on its way to; null where there is none. */
  | { readonly kind: 'delete'; readonly image: string; readonly uploadingTo: string | null };

export interface UpstreamsOptions {
  readonly ejection: EjectionRules;
  /** By image: the origin of the server that it was staged on, as far as this process did it. */
  readonly staged: LRUCache<string, string>;
  /** Told when a request goes to a second server, and why. */
  readonly retried: (reason: 'nowhere' | 'unanswered') => void;
}

/** The servers of one configuration. Chooses one for each request, and the next one where that is safe. */
export class Upstreams {
  /** In the order of the configuration; at least one. */
  readonly members: readonly Member[];
  readonly #options: UpstreamsOptions;
  /** How often there was a choice, by what for: else whoever asks before each upload would choose its server too. */
  readonly #turns: Record<Load, number> = { uploads: 0, requests: 0 };

  constructor(members: readonly Member[], options: UpstreamsOptions) {
    this.members = members;
    // a server alone is never taken out (nginx does the same): there is nowhere else to go
    const ejectAfter = members.length > 1 ? options.ejection.ejectAfter : 0;
    this.#options = { ...options, ejection: { ...options.ejection, ejectAfter } };
  }

  /** What the API is called where a client names no host: as the first server. */
  get host(): string {
    return this.members[0]?.server.host ?? '';
  }

  /** True while at least one server is. */
  get healthy(): boolean {
    return this.members.some(({ server }) => server.healthy);
  }

  /**
   * Connects for an upload. Each server is tried once at most, and the next one only where there was no connection.
   * @param open connects; throws as `UpstreamLeg.open`.
   * @throws GatewayError what the last try threw.
   */
  async connect<T>(
    errand: Errand,
    open: (server: UpstreamServer) => Promise<T>,
  ): Promise<{ readonly value: T; readonly use: ServerUse }> {
    const { value, use } = await this.#reach(errand, 'uploads', false, async ({ server }) => {
      try {
        return { value: await open(server) };
      } catch (thrown) {
        const error = asGatewayError(thrown);
        return { error, reached: neverArrived.has(error.code) ? 'nowhere' : 'further' };
      }
    });
    return { value, use };
  }

  /** What is staged of an image lies there, or may: not before the API has taken it, else whoever is refused would say where. */
  stagedOn(image: string, server: URL | null): void {
    if (server !== null) this.#options.staged.set(image, server.origin);
  }

  /**
   * Sends a request that is no upload. Goes on to the next server where there was no connection, and where the request may
   * be sent twice also after a connection that broke without an answer.
   * @param onServer told of each server before it is tried.
   * @returns the answer; `use` is the caller's to end when that is over.
   * @throws GatewayError what the last try ended with.
   */
  async send(
    errand: Errand,
    request: PassedRequest,
    signal: GiveUp | undefined,
    onServer: (server: UpstreamServer) => void = () => {},
  ): Promise<{ readonly answer: PassedAnswer; readonly use: ServerUse }> {
    const { value, use } = await this.#reach(
      errand,
      'requests',
      mayRepeat(request),
      async ({ server, pool }) => {
        onServer(server);
        const attempt = await pool.send(request, signal);
        return 'error' in attempt ? attempt : { value: attempt.answer };
      },
    );
    use.answered();
    return { answer: value, use };
  }

  /**
   * A question of the gateway's own, answered whole.
   * @param timeoutMs for all of it; 0 = for ever.
   * @param given ends it too.
   * @throws GatewayError of source `upstream`: `upstream-unreachable`, `-connect-timeout`, `-timeout`, `-lost`, `-invalid`;
   *   any where `given` has ended it.
   */
  async fetch(
    method: 'GET' | 'HEAD',
    target: string,
    headers: RawHeaders,
    timeoutMs: number,
    given?: AbortSignal,
  ): Promise<Fetched> {
    const deadline = new AnswerDeadline(timeoutMs, given);
    try {
      const request = { method, target, headers, body: null };
      const { answer, use } = await this.send({ kind: 'other' }, request, deadline);
      try {
        return await readWhole(answer);
      } finally {
        use.end();
      }
    } finally {
      deadline.end();
    }
  }

  /** Chooses a server for what has no second try. The use is the caller's to end. */
  useOne(): ServerUse {
    const member = this.#next({ kind: 'other' }, 'requests', this.members);
    if (member === null) throw new Error('the configuration names no upstream');
    return this.#use(member, 'requests');
  }

  #use({ server }: Member, load: Load): ServerUse {
    const spare = (): boolean =>
      this.members.some((other) => other.server !== server && other.server.healthy);
    return server.use(load, this.#options.ejection, spare);
  }

  async #reach<T>(
    errand: Errand,
    load: Load,
    repeats: boolean,
    attempt: (member: Member) => Promise<{ readonly value: T } | FailedAttempt>,
  ): Promise<{ readonly value: T; readonly use: ServerUse }> {
    let left = this.members;
    let failed: { readonly error: GatewayError; readonly reached: 'nowhere' | 'unanswered' } | null = null;
    // a request that no server answers may be one at which each of them hangs up: only an answer of another speaks against them
    const silent: ServerUse[] = [];
    for (;;) {
      const member = this.#next(errand, load, left);
      if (member === null) throw failed?.error ?? new Error('the configuration names no upstream');
      if (failed !== null) this.#options.retried(failed.reached);
      left = left.filter((each) => each !== member);
      const use = this.#use(member, load);
      const result = await attempt(member);
      if ('value' in result) {
        for (const each of silent) each.lost();
        return { value: result.value, use };
      }
      use.end();
      const { error, reached } = result;
      if (reached === 'further') throw error;
      if (reached === 'nowhere') use.failed();
      else if (repeats) silent.push(use);
      else use.lost();
      if (reached === 'unanswered' && !repeats) throw error;
      failed = { error, reached };
    }
  }

  /** @param left those that were not tried yet. @returns null where none of them will do. */
  #next(errand: Errand, load: Load, left: readonly Member[]): Member | null {
    const seen = left.map((member) => ({
      member,
      healthy: member.server.healthy,
      load: member.server.underWay[load],
    }));
    switch (errand.kind) {
      case 'stage':
        return this.#preferred(errand.image, eligible(seen));
      case 'delete': {
        const { uploadingTo, image } = errand;
        return this.#preferred(image, eligible(seen), uploadingTo ?? this.#options.staged.get(image));
      }
      case 'import': {
        const home = this.#home(errand.image);
        const there = left.find(({ server }) => server.origin.origin === home);
        if (there !== undefined) return there;
        if (errand.staged) return null;
        break;
      }
    }
    const chosen = leastLoaded(seen, this.#turns[load]);
    // a second try is no turn: else it would bring the next request to where this one failed
    if (left === this.members) this.#turns[load] += 1;
    return chosen?.member ?? null;
  }

  /** The origin of the server that holds what is staged of an image, or would. */
  #home(image: string): string | undefined {
    const remembered = this.#options.staged.get(image);
    const known = this.members.map(({ server }) => server.origin.origin);
    return remembered !== undefined && known.includes(remembered)
      ? remembered
      : rendezvousOrder(known, image)[0];
  }

  #preferred(image: string, among: readonly { readonly member: Member }[], first?: string): Member | null {
    const order = rendezvousOrder(
      among.map(({ member }) => member.server.origin.origin),
      image,
    );
    const name = first !== undefined && order.includes(first) ? first : order[0];
    return among.find(({ member }) => member.server.origin.origin === name)?.member ?? null;
  }
}
