/** Who pays for an upload: the project for what is stored (as Glance counts), the user for what is in flight. */
export interface Owner {
  readonly user: string;
  readonly project: string;
}
