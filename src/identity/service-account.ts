import type { Credentials, KeystoneApi, Validation } from './keystone-api.ts';
import type { Token } from './token.ts';

/** A token is renewed this long before it expires, so that none expires on its way. */
const renewBeforeMs = 60_000;

interface Held {
  readonly secret: string;
  readonly token: Token;
}

/** One token of the account, renewed in time. */
class HeldToken {
  readonly #authenticate: () => Promise<Held>;
  readonly #nowMs: () => number;
  #held: Held | null = null;
  #renewing: Promise<Held> | null = null;

  constructor(authenticate: () => Promise<Held>, nowMs: () => number) {
    this.#authenticate = authenticate;
    this.#nowMs = nowMs;
  }

  async valid(): Promise<Held> {
    if (this.#held !== null && this.#nowMs() < this.#held.token.expiresAtMs - renewBeforeMs)
      return this.#held;
    // whoever comes while it is being renewed waits for the same answer
    this.#renewing ??= this.#authenticate()
      .then((held) => {
        this.#held = held;
        return held;
      })
      .finally(() => {
        this.#renewing = null;
      });
    return await this.#renewing;
  }

  /** The token was refused, so it was revoked before its time. */
  forget(secret: string): void {
    if (this.#held?.secret === secret) this.#held = null;
  }
}

/** The gateway's own account at Keystone, for what callers cannot be asked to pay with their tokens. */
export class ServiceAccount {
  readonly #api: KeystoneApi;
  readonly #adminRoles: ReadonlySet<string>;
  readonly #ofProject: HeldToken;
  readonly #ofSystem: HeldToken;

  /** @param nowMs milliseconds since 1970. */
  constructor(
    api: KeystoneApi,
    credentials: Credentials,
    adminRoles: readonly string[],
    nowMs: () => number = Date.now,
  ) {
    this.#api = api;
    this.#adminRoles = new Set(adminRoles);
    this.#ofProject = new HeldToken(() => api.authenticate(credentials), nowMs);
    this.#ofSystem = new HeldToken(() => api.authenticate(credentials, 'system'), nowMs);
  }

  /** A token that is valid now. @throws GatewayError `identity-unavailable`. */
  async secret(): Promise<string> {
    return (await this.#ofProject.valid()).secret;
  }

  /**
   * A token of the whole system: Keystone shows the limits of all projects to no other, not even to an administrator.
   * @throws GatewayError `identity-unavailable`, also where the account has no role on the system.
   */
  async systemSecret(): Promise<string> {
    return (await this.#ofSystem.valid()).secret;
  }

  /** True if its word that an image is not there can be believed: an administrator sees the images of everybody. */
  async seesEverything(): Promise<boolean> {
    return (await this.#ofProject.valid()).token.roles.some((role) => this.#adminRoles.has(role));
  }

  /** What `subject` is. A token of ours that was revoked before its time is renewed, once. */
  async validate(subject: string): Promise<Validation> {
    const { secret } = await this.#ofProject.valid();
    const validation = await this.#api.validate(subject, secret);
    if (validation !== 'authority-refused') return validation;
    this.#ofProject.forget(secret);
    return await this.#api.validate(subject, await this.secret());
  }
}
