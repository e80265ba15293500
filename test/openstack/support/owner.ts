import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { keystoneUrl } from './stack.ts';

/** A user in a project of their own, so that no test meets the stored bytes of another. */
export interface Owner {
  readonly userId: string;
  readonly projectId: string;
  readonly token: string;
  /** What the command line clients log in with. */
  readonly login: { readonly user: string; readonly project: string; readonly password: string };
}

const named = z.object({ id: z.string(), name: z.string() });

async function ask(token: string | null, method: string, path: string, body?: unknown): Promise<Response> {
  const answer = await fetch(`${keystoneUrl}${path}`, {
    method,
    headers: { 'Content-Type': 'application/json', ...(token === null ? {} : { 'X-Auth-Token': token }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer;
}

async function logIn(user: string, project: string, password: string) {
  const domain = { id: 'default' };
  const answer = await ask(null, 'POST', '/auth/tokens', {
    auth: {
      identity: { methods: ['password'], password: { user: { name: user, domain, password } } },
      scope: { project: { name: project, domain } },
    },
  });
  const { token } = z.object({ token: z.object({ user: named, project: named }) }).parse(await answer.json());
  const secret = z.string().parse(answer.headers.get('X-Subject-Token'));
  return { token: secret, userId: token.user.id, projectId: token.project.id };
}

let adminToken: Promise<string> | undefined;
function asAdmin(): Promise<string> {
  adminToken ??= logIn('admin', 'admin', 'adminpass').then(({ token }) => token);
  return adminToken;
}

/** Makes a project and a user with the role `member` in it. */
export async function newOwner(): Promise<Owner> {
  const admin = await asAdmin();
  const name = `owner-${randomUUID()}`;
  const login = { user: name, project: name, password: 'pass' };
  const projectAnswer = await ask(admin, 'POST', '/projects', { project: { name, domain_id: 'default' } });
  const { project } = z.object({ project: named }).parse(await projectAnswer.json());
  const userAnswer = await ask(admin, 'POST', '/users', {
    user: { name, domain_id: 'default', password: login.password },
  });
  const { user } = z.object({ user: named }).parse(await userAnswer.json());
  const roleAnswer = await ask(admin, 'GET', '/roles?name=member');
  const { roles } = z.object({ roles: z.array(named) }).parse(await roleAnswer.json());
  await ask(admin, 'PUT', `/projects/${project.id}/users/${user.id}/roles/${roles[0]?.id}`);
  return { ...(await logIn(login.user, login.project, login.password)), login };
}

/** What a request sends to be `owner` for Keystone and for a gateway that trusts identity headers. */
export function identityHeaders(owner: Owner): Record<string, string> {
  return { 'X-Auth-Token': owner.token, 'X-User-Id': owner.userId, 'X-Project-Id': owner.projectId };
}

/** Makes the service catalog name `origin` as the image service, for every client that logs in from now on. */
export async function pointImageServiceAt(origin: string): Promise<void> {
  const admin = await asAdmin();
  const serviceAnswer = await ask(admin, 'GET', '/services?type=image');
  const { services } = z.object({ services: z.array(named) }).parse(await serviceAnswer.json());
  const endpointAnswer = await ask(admin, 'GET', `/endpoints?service_id=${services[0]?.id}`);
  const { endpoints } = z
    .object({ endpoints: z.array(z.object({ id: z.string() })) })
    .parse(await endpointAnswer.json());
  for (const { id } of endpoints) {
    await ask(admin, 'PATCH', `/endpoints/${id}`, { endpoint: { url: origin } });
  }
}
