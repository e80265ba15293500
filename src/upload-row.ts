import type { Counted } from './lanes/progress.ts';
import type { UploadStart } from './registry.ts';

/** What an operator sees of bytes that are set aside, and whose they are: one row of `GET /uploads`. */
export interface UploadRow {
  readonly id: string;
  readonly start: UploadStart;
  readonly startedAt: Date;
  /** How its bytes are moved; `import` where the API itself brings them in. */
  readonly lane: string;
  /** `HOST:PORT` of the server; null while none was tried. */
  readonly upstream: string | null;
  readonly progress: Pick<Counted, 'receivedBytes' | 'sentBytes'>;
  /** Set aside in the ledger now. */
  readonly reservedBytes: number;
  /** Null while it is under way; `unknown` when its body was sent and nobody knows what became of it. */
  readonly ending: 'unknown' | null;
}
