import { chargesOf } from './charges.ts';
import type { Config } from './config/config.ts';
import { GatewayError } from './core/errors.ts';
import type { Owner } from './core/owner.ts';
import type { Charge, Granted, Ledger, RefusedClaim, Reservation } from './ledger/ledger.ts';
import { type LimitsSource, noLimits, type ProjectLimits } from './limits/limits.ts';
import type { Readings } from './usage/readings.ts';
import type { Caller } from './usage/usage.ts';

export interface Request {
  /** Of the upload; the reservation gets the same. */
  readonly id: string;
  readonly owner: Owner;
  /** Null = unknown length. */
  readonly declaredBytes: number | null;
  readonly caller: Caller;
}

export interface AdmissionSight {
  refused(refused: RefusedClaim, mode: 'enforce' | 'log'): void;
  operation(operation: 'reserve' | 'grow' | 'settle', outcome: string): void;
}

/** Bytes set aside, and how to get more: what an admitted upload holds. */
export interface Admitted {
  readonly reservation: Reservation;
  /** The bytes the upload may send in all, from now on. Throws when the quota is met. */
  growByChunk(): Promise<number>;
}

type QuotaMode = Config['quota']['mode'];

/**
 * Decides whether an upload may begin and go on. A known length is reserved whole, an unknown one by chunks.
 * Before it says no it reads once more what is stored: images may have been deleted since.
 */
export class Admission {
  readonly #ledger: Ledger;
  /** Null where the API does not say what is stored. */
  readonly #readings: Readings | null;
  readonly #limits: LimitsSource;
  readonly #sight: AdmissionSight;

  constructor(ledger: Ledger, readings: Readings | null, limits: LimitsSource, sight: AdmissionSight) {
    this.#ledger = ledger;
    this.#readings = readings;
    this.#limits = limits;
    this.#sight = sight;
  }

  /**
   * @throws GatewayError `quota-exceeded`, `saving-exceeded`, `uploads-exceeded`, `usage-unavailable`,
   *   `limits-unavailable`, `identity-unavailable`, `credentials-refused`.
   */
  async admit(config: Config, request: Request): Promise<Admitted> {
    const { quota, upload } = config;
    const charges = chargesOf(quota, request.owner, await this.#cloudLimits(quota.mode, request));
    const bytes = request.declaredBytes ?? upload.chunkBytes;
    // of a body of unknown length nothing is known but that it wants to begin: one byte
    const leastBytes = request.declaredBytes ?? 1;
    await this.#ensureReadings(charges, request, quota);
    const reservation = await this.#decide(quota.mode, charges, request, 'reserve', (enforce) =>
      this.#ledger.reserve({ id: request.id, charges, bytes, leastBytes, enforce }),
    );
    return {
      reservation,
      growByChunk: async () => {
        // hours may have passed: what was stored by another way meanwhile counts. But an upload that runs does not end
        // because the API cannot be asked, or because its token has expired: then the older reading stands
        await this.#ensureReadings(charges, request, quota).catch(() => {});
        await this.#decide(quota.mode, charges, request, 'grow', (enforce) =>
          reservation.grow(upload.chunkBytes, 1, enforce),
        );
        return reservation.bytes;
      },
    };
  }

  async #decide<T>(
    mode: QuotaMode,
    charges: readonly Charge[],
    request: Request,
    operation: 'reserve' | 'grow',
    ask: (enforce: boolean) => Promise<Granted<T>>,
  ): Promise<T> {
    let answer = await ask(true);
    if ('refused' in answer) {
      if (answer.refused.limit === 'total') await this.#refreshReadings(charges, request);
      answer = await ask(mode === 'enforce');
    }
    this.#sight.operation(operation, 'granted' in answer ? 'granted' : 'refused');
    if ('refused' in answer) {
      this.#sight.refused(answer.refused, 'enforce');
      throw refusalError(answer.refused);
    }
    if (answer.overdrawn !== null) this.#sight.refused(answer.overdrawn, 'log');
    return answer.granted;
  }

  async #cloudLimits(mode: QuotaMode, { owner, caller }: Request): Promise<ProjectLimits> {
    if (mode === 'off') return noLimits;
    try {
      return await this.#limits.limitsOf(owner.project, caller);
    } catch (error) {
      if (mode === 'enforce') throw error;
      return noLimits;
    }
  }

  async #ensureReadings(
    charges: readonly Charge[],
    { owner, caller }: Request,
    { mode, usage }: Config['quota'],
  ): Promise<void> {
    for (const { account, limits, paysForStored } of charges) {
      if (!paysForStored || limits.totalBytes === Infinity || this.#readings === null) continue;
      try {
        await this.#readings.ensure(account, owner.project, caller, usage.ttlMs);
      } catch (error) {
        if (mode === 'enforce') throw error;
      }
    }
  }

  async #refreshReadings(charges: readonly Charge[], { owner, caller }: Request): Promise<void> {
    for (const { account, limits, paysForStored } of charges) {
      if (!paysForStored || limits.totalBytes === Infinity || this.#readings === null) continue;
      // without a fresh reading the older one stands, and with it the refusal
      await this.#readings.refresh(account, owner.project, caller).catch(() => {});
    }
  }
}

function refusalError(refused: RefusedClaim): GatewayError {
  const { account, limit, requested, remaining, allowed } = refused;
  const facts = { account, requested, remaining, limit: allowed };
  const more = { ending: 'quota-exceeded', facts } as const;
  switch (limit) {
    case 'total': {
      const detail = `${account} may store ${allowed} bytes; ${remaining} remain, ${requested} more were asked for.`;
      return new GatewayError('quota-exceeded', detail, more);
    }
    case 'saving': {
      const detail = `${account} may have ${allowed} bytes in flight; ${remaining} remain, ${requested} more were asked for.`;
      return new GatewayError('saving-exceeded', detail, more);
    }
    case 'uploads':
      return new GatewayError('uploads-exceeded', `${account} may have ${allowed} uploads at once.`, {
        ...more,
        headers: uploadsFields(allowed),
      });
  }
}

/** The fields of draft-ietf-httpapi-ratelimit-headers-10 for a quota of uploads at once; when one ends nobody knows. */
const uploadsFields = (allowed: number): string[] => [
  ...['RateLimit-Policy', `"uploads";q=${allowed};qu="concurrent-requests"`],
  ...['RateLimit', '"uploads";r=0'],
];
