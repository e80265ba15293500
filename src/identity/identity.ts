import type { RawHeaders } from '../core/headers.ts';

/** A request whose sender is to be known. */
export interface Asked {
  readonly headers: RawHeaders;
  /** Of the connection, not of anybody it claims to speak for. */
  readonly peerAddress: string;
  readonly method: string;
  /** The canonical path, without a query. */
  readonly path: string;
}

/** Who sends a request. */
export interface Identified {
  readonly user: string;
  /** The project that the request is made in; null where it is made in none. */
  readonly project: string | null;
  readonly roles: readonly string[];
  /** True if the token may do some requests only: then it may not be able to ask what the gateway has to know. */
  readonly restricted: boolean;
}

/** Says whose a request is. */
export interface Identity {
  /** True if the headers that name user and project are believed from this peer, and so go upstream. */
  trusts(peerAddress: string): boolean;
  /** True if `X-Service-Token` of this peer goes upstream. */
  trustsServiceToken(peerAddress: string): boolean;
  /**
   * Who sends the request.
   * @throws GatewayError `identity-missing`, `token-missing`, `token-invalid`, `identity-unavailable`, `header-invalid`.
   */
  identify(asked: Asked): Promise<Identified>;
  /** Names in lower case that carry identity here. */
  readonly headerNames: ReadonlySet<string>;
  /** False where everybody is one owner: then that one pays, whoever the API says owns an image. */
  readonly knowsProjects: boolean;
}
