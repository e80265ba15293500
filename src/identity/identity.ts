import type { RawHeaders } from '../core/headers.ts';
import type { Owner } from '../core/owner.ts';

/** Says whose a request is. */
export interface Identity {
  /** True if the headers that name user and project are believed from this peer, and so go upstream. */
  trusts(peerAddress: string): boolean;
  /**
   * Who pays for an upload with this head.
   * @param peerAddress of the connection, not of anybody it claims to speak for.
   * @throws GatewayError `identity-missing`, `header-invalid`.
   */
  owner(headers: RawHeaders, peerAddress: string): Promise<Owner>;
  /** Names in lower case that carry identity here. */
  readonly headerNames: ReadonlySet<string>;
}
