/** How the gateway asks the API on behalf of a caller: the caller's own credentials, as a raw header list. */
export interface Caller {
  readonly headers: readonly string[];
  /** The project that the credentials are of; null where they are of none, or nobody knows. */
  readonly project: string | null;
}

/** Reads from the API how many bytes a project has stored. */
export interface UsageSource {
  /**
   * @param precision `exact` counts every byte. `upper` may say up to a MiB more than there is, never less, and may be cheaper.
   * @returns whole bytes.
   * @throws GatewayError `credentials-refused` when the API refuses the caller, `usage-unavailable` when it
   *   does not say.
   */
  storedBytes(project: string, caller: Caller, precision: 'exact' | 'upper'): Promise<number>;
}
