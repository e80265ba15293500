import { LRUCache } from 'lru-cache';
import { permitted } from '../core/access-rules.ts';
import { GatewayError } from '../core/errors.ts';
import type { RawHeaders } from '../core/headers.ts';
import { serviceToken, userToken } from '../core/token-header.ts';
import type { Networks } from '../http/networks.ts';
import type { Asked, Identified, Identity } from './identity.ts';
import type { KeystoneApi, Validation } from './keystone-api.ts';
import type { ServiceAccount } from './service-account.ts';
import { hashOf, type Token } from './token.ts';

/** How long Keystone's no is remembered, so that a client that repeats a bad token costs one question. */
const refusedTtlMs = 5_000;
const mostRefused = 1_000;
/** Questions under way at once. A flood of made-up tokens fills this, not the memory. */
const mostPending = 1_000;

export interface KeystoneOptions {
  /** How long a valid token is believed; 0 = asked every time. */
  readonly cacheTtlMs: number;
  /** Tokens remembered at once, at least 1. */
  readonly cacheSize: number;
  /** What clients are told in `WWW-Authenticate`. */
  readonly authenticateUri: string;
  /** The type of the API in Keystone's catalog, by which access rules name it. */
  readonly serviceType: string;
  /** Roles of which one makes a token a service's. */
  readonly serviceRoles: readonly string[];
  /** Whose `X-Service-Token` is looked at and sent on. */
  readonly serviceTokensFrom: Networks;
}

export type IdentityOutcome = 'cached' | 'valid' | 'invalid' | 'unavailable';

interface Believed {
  readonly token: Token;
  readonly untilMs: number;
}

/**
 * Asks Keystone whose a token is. A token is validated with itself, or by the service account where there is one.
 * What Keystone says is believed for `cacheTtlMs` and never past the token's expiry; so long does a revoked token live.
 */
export class KeystoneIdentity implements Identity {
  readonly headerNames: ReadonlySet<string> = new Set();
  readonly knowsProjects = true;
  readonly #api: KeystoneApi;
  readonly #account: ServiceAccount | null;
  readonly #options: KeystoneOptions;
  readonly #observe: (outcome: IdentityOutcome) => void;
  readonly #nowMs: () => number;
  /** By hash of the token. */
  readonly #believed: LRUCache<string, Believed>;
  /** Until when the no is remembered. */
  readonly #refused = new LRUCache<string, number>({ max: mostRefused });
  readonly #pending = new Map<string, Promise<Validation>>();

  /** @param nowMs milliseconds since 1970: expiry is told so. */
  constructor(
    api: KeystoneApi,
    account: ServiceAccount | null,
    options: KeystoneOptions,
    observe: (outcome: IdentityOutcome) => void,
    nowMs: () => number = Date.now,
  ) {
    this.#api = api;
    this.#account = account;
    this.#options = options;
    this.#observe = observe;
    this.#nowMs = nowMs;
    this.#believed = new LRUCache({ max: options.cacheSize });
  }

  /** Headers that name the user come from Keystone's word only, whoever the peer is. */
  trusts(): boolean {
    return false;
  }

  trustsServiceToken(peerAddress: string): boolean {
    return this.#options.serviceTokensFrom.has(peerAddress);
  }

  async identify({ headers, peerAddress, method, path }: Asked): Promise<Identified> {
    const secret = userToken(headers);
    if (secret === null) throw this.#challenge('token-missing', 'There is no token in X-Auth-Token.');
    const forService = await this.#serviceSecret(headers, peerAddress);
    const token = await this.#token(secret, forService);
    if (token === null) throw this.#challenge('token-invalid', 'Keystone does not know the token.');
    // as keystonemiddleware: a service's own request is not what the rules were written for
    if (token.accessRules !== null && forService === null) {
      const service = this.#options.serviceType;
      if (!permitted(token.accessRules, { service, method, path })) {
        throw this.#challenge('token-invalid', 'The access rules of the token do not allow this request.');
      }
    }
    const { user, project, roles } = token;
    return { user, project, roles, restricted: token.accessRules !== null && forService === null };
  }

  /** The token of a service that speaks for the caller, if the peer may bring one and it is one; else null. */
  async #serviceSecret(headers: RawHeaders, peerAddress: string): Promise<string | null> {
    if (!this.trustsServiceToken(peerAddress)) return null;
    const secret = serviceToken(headers);
    if (secret === null) return null;
    const token = await this.#token(secret, null);
    return token?.roles.some((role) => this.#options.serviceRoles.includes(role)) ? secret : null;
  }

  /**
   * The token as Keystone knows it; null if it does not.
   * @param serviceSecret with it a token that expired on its way is valid still (glance.md §4.3).
   */
  async #token(secret: string, serviceSecret: string | null): Promise<Token | null> {
    const nowMs = this.#nowMs();
    // an expired token is valid for a service and for nobody else
    const hash = hashOf(serviceSecret === null ? secret : `${secret} for a service`);
    const believed = this.#believed.get(hash);
    if (believed !== undefined && nowMs < believed.untilMs) {
      this.#observe('cached');
      return believed.token;
    }
    const refusedUntilMs = this.#refused.get(hash);
    if (refusedUntilMs !== undefined && nowMs < refusedUntilMs) {
      this.#observe('invalid');
      return null;
    }
    const validation = await this.#ask(hash, secret, serviceSecret);
    if (validation === 'authority-refused' && serviceSecret === null) {
      // nothing is known of the token: it was the gateway's own account that was refused
      this.#observe('unavailable');
      throw new GatewayError('identity-unavailable', 'Keystone refuses the service account of the gateway.');
    }
    const expired =
      typeof validation === 'object' && serviceSecret === null && this.#nowMs() >= validation.expiresAtMs;
    if (validation === 'invalid' || validation === 'authority-refused' || expired) {
      this.#believed.delete(hash);
      this.#refused.set(hash, this.#nowMs() + refusedTtlMs);
      this.#observe('invalid');
      return null;
    }
    const { cacheTtlMs } = this.#options;
    const untilMs = this.#nowMs() + cacheTtlMs;
    if (cacheTtlMs > 0) {
      this.#believed.set(hash, {
        token: validation,
        untilMs: serviceSecret === null ? Math.min(untilMs, validation.expiresAtMs) : untilMs,
      });
    }
    this.#observe('valid');
    return validation;
  }

  /** One question under way for each token, whoever asks. */
  #ask(hash: string, secret: string, serviceSecret: string | null): Promise<Validation> {
    const pending = this.#pending.get(hash);
    if (pending !== undefined) return pending;
    if (this.#pending.size >= mostPending) {
      this.#observe('unavailable');
      throw new GatewayError('identity-unavailable', 'Too many tokens are being checked.');
    }
    const asked =
      serviceSecret !== null
        ? this.#api.validate(secret, serviceSecret, true)
        : this.#account !== null
          ? this.#account.validate(secret)
          : this.#api.validate(secret, secret);
    const counted = asked
      .catch((error: unknown) => {
        this.#observe('unavailable');
        throw error;
      })
      .finally(() => this.#pending.delete(hash));
    this.#pending.set(hash, counted);
    return counted;
  }

  #challenge(code: 'token-missing' | 'token-invalid', detail: string): GatewayError {
    const headers = ['WWW-Authenticate', `Keystone uri="${this.#options.authenticateUri}"`];
    return new GatewayError(code, detail, { headers });
  }
}
