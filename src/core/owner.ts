/** Who pays for an upload: the project for what is stored (as Glance counts), the user for what is in flight. */
export interface Owner {
  readonly user: string;
  readonly project: string;
}

/** The one owner of everything where `identity.source` is `none`. */
export const anonymous: Owner = Object.freeze({ user: 'anonymous', project: 'anonymous' });
