import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

/** A token as Keystone has it. */
export interface FakeToken {
  readonly user: string;
  readonly project: string | null;
  readonly roles?: readonly string[];
  /** Milliseconds since 1970. Default: in an hour. */
  readonly expiresAtMs?: number;
  readonly accessRules?: readonly { service: string; method: string; path: string }[];
  readonly system?: boolean;
}

/** The limits of one resource; a project that is not in `projects` has the default. */
export interface FakeLimit {
  readonly registered: number;
  readonly projects?: Readonly<Record<string, number>>;
  readonly region?: string;
}

/**
 * The token and limits part of Keystone v3 as glance.md §4 describes it, with what a real one cannot be made to do:
 * fail, stall, revoke at a moment, and count who asks.
 */
export class FakeKeystone {
  readonly tokens = new Map<string, FakeToken>();
  readonly limits: Record<string, FakeLimit> = {};
  /** `user:password` that may log in, and the roles they get. */
  readonly accounts = new Map<string, readonly string[]>();
  /** True gives the accounts their roles on the whole system too. */
  accountsOfSystem = true;
  /** Questions about tokens so far. */
  validations = 0;
  logins = 0;
  /** True: a token that an account gets is refused at once. */
  stillborn = false;
  /** Answers every question with this status instead; 0 = as usual, -1 = never answers. */
  trouble = 0;
  readonly #server: Server;
  #release: (() => void)[] = [];

  static async start(): Promise<FakeKeystone> {
    const keystone = new FakeKeystone();
    keystone.#server.listen(0, '127.0.0.1');
    await once(keystone.#server, 'listening');
    return keystone;
  }

  private constructor() {
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    return `http://127.0.0.1:${address.port}/v3`;
  }

  /** A new token. */
  issue(token: FakeToken): string {
    const secret = `gAAAAA${randomBytes(30).toString('base64url')}`;
    this.tokens.set(secret, token);
    return secret;
  }

  revoke(secret: string): void {
    this.tokens.delete(secret);
  }

  /** Questions that hang now. */
  get hanging(): number {
    return this.#release.length;
  }

  /** Questions that hang are answered from now on. */
  recover(): void {
    this.trouble = 0;
    for (const release of this.#release.splice(0)) release();
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', 'http://keystone');
    if (url.pathname === '/v3/auth/tokens' && request.method === 'GET') this.validations += 1;
    if (this.trouble === -1) await new Promise<void>((resolve) => this.#release.push(resolve));
    if (this.trouble > 0) return reply(response, this.trouble, { error: { code: this.trouble } });
    if (url.pathname === '/v3/auth/tokens') {
      if (request.method === 'POST') return await this.#login(request, response);
      return this.#validate(request, response, url.searchParams.has('allow_expired'));
    }
    const authority = this.#valid(header(request, 'x-auth-token'));
    if (authority === null) return reply(response, 401, { error: { code: 401 } });
    const resource = url.searchParams.get('resource_name') ?? '';
    const limit = this.limits[resource];
    const region_id = limit?.region ?? null;
    if (url.pathname === '/v3/registered_limits') {
      const row = limit && { resource_name: resource, default_limit: limit.registered, region_id };
      return reply(response, 200, { registered_limits: row === undefined ? [] : [row] });
    }
    if (url.pathname === '/v3/limits') {
      // of all projects to the system, else of one's own; whoever asks for one project has to look himself
      const rows = Object.entries(limit?.projects ?? {})
        .filter(([project]) => authority.system === true || project === authority.project)
        .map(([project_id, resource_limit]) => ({
          ...{ resource_name: resource, project_id, resource_limit, region_id },
        }));
      return reply(response, 200, { limits: rows });
    }
    reply(response, 404, { error: { code: 404 } });
  }

  #validate(request: IncomingMessage, response: ServerResponse, allowExpired: boolean): void {
    const authority = this.#valid(header(request, 'x-auth-token'));
    if (authority === null) return reply(response, 401, { error: { code: 401 } });
    const secret = header(request, 'x-subject-token');
    const token =
      allowExpired && authority.roles?.includes('service') ? this.tokens.get(secret) : this.#valid(secret);
    if (token == null) return reply(response, 404, { error: { code: 404 } });
    // without the header Keystone does not show tokens that have rules
    if (token.accessRules !== undefined && header(request, 'openstack-identity-access-rules') !== '1.0') {
      return reply(response, 404, { error: { code: 404 } });
    }
    response.setHeader('X-Subject-Token', secret);
    reply(response, 200, documentOf(token));
  }

  async #login(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.logins += 1;
    let text = '';
    for await (const piece of request) text += String(piece);
    const { identity, scope } = JSON.parse(text).auth;
    const { user } = identity.password;
    const roles = this.accounts.get(`${user.name}:${user.password}`);
    const system = scope.system?.all === true;
    if (roles === undefined || (system && !this.accountsOfSystem)) {
      return reply(response, 401, { error: { code: 401 } });
    }
    const secret = this.issue({ user: user.name, project: system ? null : 'service', roles, system });
    response.setHeader('X-Subject-Token', secret);
    const document = documentOf(this.tokens.get(secret) ?? { user: '', project: null });
    if (this.stillborn) this.revoke(secret);
    reply(response, 201, document);
  }

  #valid(secret: string): FakeToken | null {
    const token = this.tokens.get(secret);
    return token !== undefined && expiryOf(token) > Date.now() ? token : null;
  }
}

const expiryOf = ({ expiresAtMs }: FakeToken): number => expiresAtMs ?? Date.now() + 3_600_000;

const header = (request: IncomingMessage, name: string): string => String(request.headers[name] ?? '');

function documentOf(token: FakeToken): unknown {
  const domain = { id: 'default', name: 'Default' };
  return {
    token: {
      methods: ['password'],
      user: { id: token.user, name: token.user, domain },
      ...(token.project !== null && { project: { id: token.project, name: token.project, domain } }),
      ...(token.system && { system: { all: true } }),
      roles: (token.roles ?? ['member']).map((name) => ({ id: name, name })),
      audit_ids: ['3T2dc1CGQxyJsHdDu1xkcw'],
      // microseconds, as Keystone writes them
      expires_at: new Date(expiryOf(token)).toISOString().replace('Z', '000Z'),
      issued_at: new Date().toISOString().replace('Z', '000Z'),
      ...(token.accessRules !== undefined && {
        application_credential: { id: 'a', name: 'a', restricted: true, access_rules: token.accessRules },
      }),
    },
  };
}

function reply(response: ServerResponse, status: number, document: unknown): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(document));
}
