import type { Caller } from '../usage/usage.ts';

/** What the cloud allows a project; `Infinity` = no limit, 0 = nothing. */
export interface ProjectLimits {
  /** Stored + saving bytes. */
  readonly totalBytes: number;
  /** Uploads at once. */
  readonly uploads: number;
}

export const noLimits: ProjectLimits = Object.freeze({ totalBytes: Infinity, uploads: Infinity });

/** Says what the cloud allows. */
export interface LimitsSource {
  /**
   * True where it matters who asks: then an answer that one caller got is none for another.
   */
  readonly dependsOnCaller: boolean;
  /**
   * @param caller whose credentials may be used to ask.
   * @throws GatewayError `limits-unavailable`, `credentials-refused`, `identity-unavailable`.
   */
  limitsOf(project: string, caller: Caller): Promise<ProjectLimits>;
}

/** Where the file says all there is to say. */
export const fileOnly: LimitsSource = { dependsOnCaller: false, limitsOf: async () => noLimits };
