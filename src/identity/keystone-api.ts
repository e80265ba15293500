import { z } from 'zod';
import { GatewayError } from '../core/errors.ts';
import { headerValue } from '../core/headers.ts';
import { type Fetched, parsedJson } from '../http/ask.ts';
import type { Service } from '../http/service.ts';
import { readToken, type Token } from './token.ts';

/** Who the gateway itself is to Keystone. */
export interface Credentials {
  readonly user: string;
  readonly userDomain: string;
  readonly project: string;
  readonly projectDomain: string;
  readonly password: string;
}

/** `authority-refused`: the token that was asked with is itself not valid. */
export type Validation = Token | 'invalid' | 'authority-refused';

/** The questions to Keystone's API v3, each answered in full or with `identity-unavailable`. */
export class KeystoneApi {
  readonly #service: Pick<Service, 'ask'>;

  constructor(service: Pick<Service, 'ask'>) {
    this.#service = service;
  }

  /**
   * What is `subject`? A token may ask about itself, so no credentials are needed for that.
   * @param authority the token to ask with.
   * @param allowExpired true also accepts a token that expired at most Keystone's `allow_expired_window` ago; only a
   *   token with the service role may ask so.
   */
  async validate(subject: string, authority: string, allowExpired = false): Promise<Validation> {
    const answer = await this.#ask('GET', `/auth/tokens?nocatalog${allowExpired ? '&allow_expired=1' : ''}`, [
      ...['X-Auth-Token', authority, 'X-Subject-Token', subject],
      // whoever says this keeps the rules that come back; without it Keystone does not show such tokens
      ...['OpenStack-Identity-Access-Rules', '1.0'],
    ]);
    switch (answer.status) {
      case 200: {
        const token = readToken(parsedJson(answer));
        if (token === null)
          throw unavailable('Keystone describes the token in a way that is not understood.');
        return token;
      }
      case 404:
        return 'invalid';
      case 401:
        return authority === subject ? 'invalid' : 'authority-refused';
      default:
        throw unavailable(`Keystone answered ${answer.status} when asked about a token.`);
    }
  }

  /** A token for a password, of the account's project or of the whole system. */
  async authenticate(
    credentials: Credentials,
    scope: 'project' | 'system' = 'project',
  ): Promise<{ readonly secret: string; readonly token: Token }> {
    const { user, userDomain, project, projectDomain, password } = credentials;
    const body = {
      auth: {
        identity: {
          methods: ['password'],
          password: { user: { name: user, domain: { name: userDomain }, password } },
        },
        scope:
          scope === 'system'
            ? { system: { all: true } }
            : { project: { name: project, domain: { name: projectDomain } } },
      },
    };
    const answer = await this.#ask('POST', '/auth/tokens', [], JSON.stringify(body));
    const secret = headerValue(answer.headers, 'x-subject-token');
    const token = readToken(parsedJson(answer));
    if (answer.status !== 201 || secret === undefined || token === null) {
      const what = scope === 'system' ? 'a token of the system' : 'a token';
      throw unavailable(`Keystone answered ${answer.status} when the service account asked for ${what}.`);
    }
    return { secret, token };
  }

  /** The members of a list, e.g. `limits` of `/limits?…`, read by a schema of theirs. */
  async list<T>(target: string, member: string, row: z.ZodType<T>, authority: string): Promise<T[]> {
    const answer = await this.#ask('GET', target, ['X-Auth-Token', authority]);
    const read = z.record(z.string(), z.unknown()).safeParse(parsedJson(answer));
    const rows = z.array(row).safeParse(read.success ? read.data[member] : undefined);
    if (answer.status !== 200 || !rows.success) {
      throw unavailable(`Keystone answered ${answer.status} when asked for ${member}.`);
    }
    return rows.data;
  }

  async #ask(
    method: 'GET' | 'POST',
    target: string,
    headers: readonly string[],
    body: string | null = null,
  ): Promise<Fetched> {
    const more = body === null ? [] : ['Content-Type', 'application/json'];
    try {
      return await this.#service.ask({
        method,
        target,
        headers: ['Accept', 'application/json', ...more, ...headers],
        body,
      });
    } catch (cause) {
      throw unavailable('Keystone does not answer.', cause);
    }
  }
}

function unavailable(detail: string, cause?: unknown): GatewayError {
  return new GatewayError('identity-unavailable', detail, { cause });
}
