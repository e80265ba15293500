import { GatewayError } from '../core/errors.ts';
import { headerValue, joinedHeader, type RawHeaders } from '../core/headers.ts';
import { Networks } from '../http/networks.ts';
import type { Asked, Identified, Identity } from './identity.ts';

/** Longest id that is accepted. Keystone's are 32 or 64 characters. */
const idPattern = /^[!-+\--~]{1,255}$/;

/** Believes the headers of trusted peers: a proxy in front that has checked who the user is. */
export class HeaderIdentity implements Identity {
  readonly headerNames: ReadonlySet<string>;
  readonly knowsProjects = true;
  readonly #user: string;
  readonly #project: string;
  readonly #trusted: Networks;

  /** @param options header names in lower case; networks as CIDRs or single addresses. */
  constructor(options: { user: string; project: string; trustedFrom: readonly string[] }) {
    this.#user = options.user;
    this.#project = options.project;
    this.#trusted = new Networks(options.trustedFrom);
    this.headerNames = new Set([options.user, options.project]);
  }

  trusts(peerAddress: string): boolean {
    return this.#trusted.has(peerAddress);
  }

  trustsServiceToken(peerAddress: string): boolean {
    return this.trusts(peerAddress);
  }

  async identify({ headers, peerAddress }: Asked): Promise<Identified> {
    if (!this.trusts(peerAddress)) {
      const detail = `Identity headers are not accepted from ${peerAddress}.`;
      throw new GatewayError('identity-missing', detail);
    }
    return {
      user: id(headers, this.#user),
      project: id(headers, this.#project),
      // the name that authtoken gives them (glance.md §1.8)
      restricted: false,
      roles: (joinedHeader(headers, 'x-roles') ?? '').split(',').map((role) => role.trim()),
    };
  }
}

function id(headers: RawHeaders, name: string): string {
  const value = headerValue(headers, name);
  if (value === undefined || value === '') {
    throw new GatewayError('identity-missing', `The header ${name} is missing.`);
  }
  // printable, no comma: a joined list would be two ids in one
  if (!idPattern.test(value)) throw new GatewayError('header-invalid', `The header ${name} is not one id.`);
  return value;
}
