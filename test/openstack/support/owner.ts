import { grant, type Login, logIn, newProject, newUser } from './keystone.ts';

/** A user in a project; by default both are new, so that no test meets the stored bytes of another. */
export interface Owner {
  readonly userId: string;
  readonly projectId: string;
  readonly token: string;
  /** What the command line clients log in with. */
  readonly login: Login;
}

/** Whoever has a token. */
export type Bearer = Pick<Owner, 'token'>;

/** Makes a user, with a role in a new project or in that of somebody else. */
export async function newOwner(
  options: { readonly inProjectOf?: Owner; readonly role?: 'member' | 'admin' } = {},
): Promise<Owner> {
  const { inProjectOf, role = 'member' } = options;
  const project =
    inProjectOf === undefined
      ? await newProject()
      : { id: inProjectOf.projectId, name: inProjectOf.login.project };
  const user = await newUser();
  await grant(role, user.id, `/projects/${project.id}`);
  return await owning({ user: user.name, project: project.name, password: user.password });
}

/** The same user with a token for a project of somebody else, in which they become a member. */
export async function alsoInProjectOf(owner: Owner, other: Owner): Promise<Owner> {
  await grant('member', owner.userId, `/projects/${other.projectId}`);
  return await owning({ ...owner.login, project: other.login.project });
}

/** The same user and project with another token. */
export async function withNewToken(owner: Owner): Promise<Owner> {
  return await owning(owner.login);
}

async function owning(login: Login): Promise<Owner> {
  const { projectId, ...issued } = await logIn(login);
  if (projectId === null) throw new Error('a token of no project');
  return { ...issued, projectId, login };
}

/** What a request sends to be `bearer` for Keystone, Glance and the gateway. */
export function identityHeaders(bearer: Bearer): Record<string, string> {
  return { 'X-Auth-Token': bearer.token };
}
