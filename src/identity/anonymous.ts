import type { Identified, Identity } from './identity.ts';

/** The one owner of everything where `identity.source` is `none`. */
const anonymous: Identified = Object.freeze({
  user: 'anonymous',
  project: 'anonymous',
  roles: [],
  restricted: false,
});

/** Everybody is one owner. Nobody's word about identity is believed. */
export class AnonymousIdentity implements Identity {
  readonly headerNames: ReadonlySet<string> = new Set();
  readonly knowsProjects = false;

  trusts(): boolean {
    return false;
  }

  trustsServiceToken(): boolean {
    return false;
  }

  async identify(): Promise<Identified> {
    return anonymous;
  }
}
