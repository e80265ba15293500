import { GatewayError } from './core/errors.ts';
import type { Owner } from './core/owner.ts';
import type { Fetched } from './http/ask.ts';
import type { Identified } from './identity/identity.ts';
import type { ImageLookup } from './image-lookup.ts';
import type { Caller } from './usage/usage.ts';

export interface PayerOptions {
  /** True where somebody's stored bytes are limited, so that it matters on whose account they will be. */
  readonly limitsStored: boolean;
  /** False where everybody is one owner. */
  readonly knowsProjects: boolean;
  /** Roles of which one lets a caller upload into the image of another project. */
  readonly adminRoles: readonly string[];
}

/**
 * Who pays for the bytes of an upload: the project that owns the image, because there the API will count them,
 * and the user who sends them. Glance asks the caller's quota and fills the owner's; that gap is closed here.
 */
export class Payers {
  readonly #lookup: ImageLookup;
  readonly #options: PayerOptions;

  constructor(lookup: ImageLookup, options: PayerOptions) {
    this.#lookup = lookup;
    this.#options = options;
  }

  /** True where it matters who pays for stored bytes. */
  get matter(): boolean {
    return this.#options.limitsStored;
  }

  /**
   * Whether the caller may give an image to another project, which then pays.
   * @throws GatewayError `owner-fixed`
   */
  refuseGift({ roles }: Identified): void {
    const { adminRoles } = this.#options;
    if (roles.some((role) => adminRoles.includes(role))) return;
    throw new GatewayError(
      'owner-fixed',
      `Who gives an image away needs one of the roles ${adminRoles.join(', ')}.`,
    );
  }

  /** False where everybody is one owner. */
  get knowsProjects(): boolean {
    return this.#options.knowsProjects;
  }

  /**
   * Looks the image up, where that can matter. `answer` is the API's word that the caller has no such image; `looked` says
   * that the API has shown it to the caller just now.
   * @throws GatewayError `image-foreign`, `owner-missing`, `usage-unavailable`.
   */
  async payer(
    image: string,
    { user, project, roles, restricted }: Identified,
    caller: Caller,
  ): Promise<{ readonly owner: Owner; readonly looked: boolean } | { readonly answer: Fetched }> {
    const { limitsStored, knowsProjects, adminRoles } = this.#options;
    const asks = this.#lookup.tellsOwner && knowsProjects && (limitsStored || project === null);
    let payer = project;
    if (asks) {
      const looked = await this.#lookup.record(image, caller).catch((cause: unknown) => {
        throw unavailable('The API does not answer when asked whose the image is.', cause);
      });
      if ('answer' in looked) {
        const { status } = looked.answer;
        if (restricted && (status === 401 || status === 403)) throw tokenRestricted();
        if (status >= 400 && status < 500) return looked;
        throw unavailable(`The API answered ${status} when asked whose the image is.`);
      }
      payer = looked.image.owner ?? project;
    }
    if (payer === null) {
      const detail = 'The token is not of a project, and the image belongs to none.';
      throw new GatewayError('owner-missing', detail, { ending: 'refused' });
    }
    if (payer !== project && !roles.some((role) => adminRoles.includes(role))) {
      const detail = `Who uploads into the image of another project needs one of the roles ${adminRoles.join(', ')}.`;
      throw new GatewayError('image-foreign', detail, { ending: 'refused' });
    }
    return { owner: { user, project: payer }, looked: asks };
  }
}

/** The API does not let the token ask, though it lets it upload. */
export function tokenRestricted(): GatewayError {
  const detail =
    'The access rules of the token let it upload, but not ask whose the image is and what is stored.';
  return new GatewayError('token-restricted', detail, { ending: 'refused' });
}

function unavailable(detail: string, cause?: unknown): GatewayError {
  return new GatewayError('usage-unavailable', detail, { cause });
}
