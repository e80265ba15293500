import { anonymous, type Owner } from '../core/owner.ts';
import type { Identity } from './identity.ts';

/** Everybody is one owner. Nobody's word about identity is believed. */
export class AnonymousIdentity implements Identity {
  readonly headerNames: ReadonlySet<string> = new Set();

  trusts(): boolean {
    return false;
  }

  async owner(): Promise<Owner> {
    return anonymous;
  }
}
