/** How many connections of clients may be open, over all listeners. */
export interface ConnectionLimit {
  /** Answers ask their clients to close. */
  readonly crowded: boolean;
  /** True if one more may be served; then `endConnection` has to follow. */
  beginConnection(): boolean;
  endConnection(): void;
}
