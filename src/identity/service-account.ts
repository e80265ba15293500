import type { Credentials, KeystoneApi, Validation } from './keystone-api.ts';
import type { Token } from './token.ts';

/** A token is renewed this long before it expires, so that none expires on its way. */
const renewBeforeMs = 60_000;

interface Held {
  readonly secret: string;
  readonly token: Token;
}

/** The gateway's own account at Keystone, for what callers cannot be asked to pay with their tokens. */
export class ServiceAccount {
  readonly #api: KeystoneApi;
  readonly #credentials: Credentials;
  readonly #adminRoles: ReadonlySet<string>;
  readonly #nowMs: () => number;
  #held: Held | null = null;
  #renewing: Promise<Held> | null = null;

  /** @param nowMs milliseconds since 1970. */
  constructor(
    api: KeystoneApi,
    credentials: Credentials,
    adminRoles: readonly string[],
    nowMs: () => number = Date.now,
  ) {
    this.#api = api;
    this.#credentials = credentials;
    this.#adminRoles = new Set(adminRoles);
    this.#nowMs = nowMs;
  }

  /** A token that is valid now. @throws GatewayError `identity-unavailable`. */
  async secret(): Promise<string> {
    return (await this.#valid()).secret;
  }

  /** True if its word that an image is not there can be believed: an administrator sees the images of everybody. */
  async seesEverything(): Promise<boolean> {
    return (await this.#valid()).token.roles.some((role) => this.#adminRoles.has(role));
  }

  /** What `subject` is. A token of ours that was revoked before its time is renewed, once. */
  async validate(subject: string): Promise<Validation> {
    const { secret } = await this.#valid();
    const validation = await this.#api.validate(subject, secret);
    if (validation !== 'authority-refused') return validation;
    if (this.#held?.secret === secret) this.#held = null;
    return await this.#api.validate(subject, await this.secret());
  }

  async #valid(): Promise<Held> {
    if (this.#held !== null && this.#nowMs() < this.#held.token.expiresAtMs - renewBeforeMs)
      return this.#held;
    // whoever comes while it is being renewed waits for the same answer
    this.#renewing ??= this.#api
      .authenticate(this.#credentials)
      .then((held) => {
        this.#held = held;
        return held;
      })
      .finally(() => {
        this.#renewing = null;
      });
    return await this.#renewing;
  }
}
