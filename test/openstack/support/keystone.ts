import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { secret } from './secrets.ts';
import { adminPassword, keystoneUrl } from './stack.ts';

export const named = z.object({ id: z.string(), name: z.string() });
export type Named = z.output<typeof named>;

/** What somebody logs in with. */
export interface Login {
  readonly user: string;
  readonly project: string;
  readonly password: string;
}

/** What a token is good for. */
export type Scope =
  | { readonly project: string }
  | { readonly domain: string }
  | { readonly trust: string }
  | 'system'
  | 'unscoped';

/** Asks Keystone; throws where it does not answer 2xx. */
export async function ask(
  token: string | null,
  method: string,
  path: string,
  body?: unknown,
): Promise<Response> {
  const answer = await fetch(`${keystoneUrl}${path}`, {
    method,
    headers: { 'Content-Type': 'application/json', ...(token === null ? {} : { 'X-Auth-Token': token }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer;
}

const issuedToken = z.object({
  token: z.object({ user: named, project: named.optional(), expires_at: z.string() }),
});

/** A new token. */
export interface Issued {
  readonly token: string;
  readonly userId: string;
  /** Null where the token is of no project. */
  readonly projectId: string | null;
}

async function authenticate(identity: unknown, scope: unknown): Promise<Issued> {
  const answer = await ask(null, 'POST', '/auth/tokens', { auth: { identity, scope } });
  const { token } = issuedToken.parse(await answer.json());
  const value = z.string().parse(answer.headers.get('X-Subject-Token'));
  return {
    token: secret(`a token of ${token.user.name}`, value),
    userId: token.user.id,
    projectId: token.project?.id ?? null,
  };
}

/** A token for a password; for the login's own project unless told otherwise. */
export async function logIn(login: Login, scope: Scope = { project: login.project }): Promise<Issued> {
  const { user, password } = login;
  const domain = { id: 'default' };
  const identity = { methods: ['password'], password: { user: { name: user, domain, password } } };
  return await authenticate(identity, scopeDocument(scope));
}

function scopeDocument(scope: Scope): unknown {
  if (scope === 'unscoped') return 'unscoped';
  if (scope === 'system') return { system: { all: true } };
  if ('domain' in scope) return { domain: { id: scope.domain } };
  if ('trust' in scope) return { 'OS-TRUST:trust': { id: scope.trust } };
  return { project: { name: scope.project, domain: { id: 'default' } } };
}

let adminToken: Promise<string> | undefined;
/** The token of the cloud's first administrator. */
export function asAdmin(): Promise<string> {
  const login = { user: 'admin', project: 'admin', password: secret('the password of admin', adminPassword) };
  adminToken ??= logIn(login).then(({ token }) => token);
  return adminToken;
}

export async function newProject(): Promise<Named> {
  const name = `project-${randomUUID()}`;
  const answer = await ask(await asAdmin(), 'POST', '/projects', { project: { name, domain_id: 'default' } });
  return z.object({ project: named }).parse(await answer.json()).project;
}

export async function newUser(): Promise<Named & { readonly password: string }> {
  const name = `user-${randomUUID()}`;
  const password = secret(`the password of ${name}`, `pw-${randomUUID()}`);
  const answer = await ask(await asAdmin(), 'POST', '/users', {
    user: { name, domain_id: 'default', password },
  });
  return { ...z.object({ user: named }).parse(await answer.json()).user, password };
}

/** Gives a user a role on something, e.g. `/projects/ID`, `/domains/ID` or `/system`. */
export async function grant(role: string, userId: string, on: string): Promise<void> {
  const admin = await asAdmin();
  const answer = await ask(admin, 'GET', `/roles?name=${role}`);
  const { roles } = z.object({ roles: z.array(named) }).parse(await answer.json());
  await ask(admin, 'PUT', `${on}/users/${userId}/roles/${roles[0]?.id}`);
}

export async function revoke(token: string): Promise<void> {
  const answer = await fetch(`${keystoneUrl}/auth/tokens`, {
    method: 'DELETE',
    headers: { 'X-Auth-Token': await asAdmin(), 'X-Subject-Token': token },
  });
  if (answer.status !== 204) throw new Error(`revoke: ${answer.status} ${await answer.text()}`);
}

export interface AccessRule {
  readonly service: string;
  readonly method: string;
  readonly path: string;
}

/** A token out of a new application credential of the token's user and project. */
export async function applicationCredentialToken(
  { userId, token }: { readonly userId: string; readonly token: string },
  options: { readonly rules?: readonly AccessRule[]; readonly expiresAt?: Date } = {},
): Promise<Issued> {
  const { rules, expiresAt } = options;
  const answer = await ask(token, 'POST', `/users/${userId}/application_credentials`, {
    application_credential: {
      name: randomUUID(),
      ...(rules === undefined ? {} : { access_rules: rules }),
      ...(expiresAt === undefined ? {} : { expires_at: expiresAt.toISOString().replace('Z', '') }),
    },
  });
  const { application_credential: made } = z
    .object({ application_credential: z.object({ id: z.string(), secret: z.string() }) })
    .parse(await answer.json());
  const key = { id: made.id, secret: secret('the secret of an application credential', made.secret) };
  return await authenticate({ methods: ['application_credential'], application_credential: key }, undefined);
}

/** The id of a trust by which `trustee` acts as `trustor` in the trustor's project. */
export async function newTrust(
  trustor: { readonly userId: string; readonly projectId: string; readonly token: string },
  trusteeId: string,
): Promise<string> {
  const answer = await ask(trustor.token, 'POST', '/OS-TRUST/trusts', {
    trust: {
      trustor_user_id: trustor.userId,
      trustee_user_id: trusteeId,
      project_id: trustor.projectId,
      impersonation: true,
      roles: [{ name: 'member' }],
    },
  });
  return z.object({ trust: z.object({ id: z.string() }) }).parse(await answer.json()).trust.id;
}

async function imageService(): Promise<string> {
  const answer = await ask(await asAdmin(), 'GET', '/services?type=image');
  const { services } = z.object({ services: z.array(named) }).parse(await answer.json());
  return services[0]?.id ?? '';
}

/** Sets limits of a project by the names of Glance's resources, in MiB or images. */
export async function limitProject(
  projectId: string,
  limits: Readonly<Record<string, number>>,
): Promise<void> {
  const service_id = await imageService();
  await ask(await asAdmin(), 'POST', '/limits', {
    limits: Object.entries(limits).map(([resource_name, resource_limit]) => ({
      ...{ service_id, region_id: 'RegionOne', project_id: projectId, resource_name, resource_limit },
    })),
  });
}

/** Makes the service catalog name `origin` as the image service, for every client that logs in from now on. */
export async function pointImageServiceAt(origin: string): Promise<void> {
  const admin = await asAdmin();
  const answer = await ask(admin, 'GET', `/endpoints?service_id=${await imageService()}`);
  const { endpoints } = z
    .object({ endpoints: z.array(z.object({ id: z.string() })) })
    .parse(await answer.json());
  for (const { id } of endpoints) {
    await ask(admin, 'PATCH', `/endpoints/${id}`, { endpoint: { url: origin } });
  }
}
