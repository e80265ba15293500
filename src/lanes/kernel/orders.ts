import type { ChunkPosition } from '../../core/chunk-reader.ts';
import type { Ending } from '../../core/endings.ts';
import type { ErrorCode, ErrorFacts } from '../../core/errors.ts';
import type { LeastRate } from '../../core/least-rate.ts';

/** How the source tells where the body ends, and how the sink is told. */
export type Body =
  | { readonly framing: 'length'; readonly bytes: number }
  | {
      readonly framing: 'chunked';
      readonly position: ChunkPosition;
      /** What the body has to have; the sink is told so, and gets no frames. Null: frames. */
      readonly declaredBytes: number | null;
      /** 0 = no limit. */
      readonly maxBytes: number;
      readonly frameBytes: number;
      readonly flushAfterMs: number;
    };

/** In a block of `Staging`, which is the worker's to free, or where there was none: with the order. */
export type Prefix = Uint8Array | { readonly block: number; readonly bytes: number };

/** A body that the worker is to move. */
export interface TransferOrder {
  readonly kind: 'begin';
  readonly slot: number;
  /** Copies of descriptors; the worker's to close. */
  readonly source: number;
  readonly sink: number;
  readonly body: Body;
  /** Bytes of the body that were read already; they go first. */
  readonly prefix: Prefix;
  /** Word of the gate before the end of the body, in shared memory; null where there is none. */
  readonly gate: Int32Array | null;
  readonly chunkBytes: number;
  readonly leastRate: LeastRate | null;
}

export type Order =
  | TransferOrder
  /** `allowedBytes` has grown, or the gate before the end is open. */
  | { readonly kind: 'look'; readonly slot: number }
  | { readonly kind: 'cancel'; readonly slot: number };

/**
 * How a transfer ended: `sent` with all of it in the sink's kernel; `source-ended` in an orderly way before the body's end;
 * `refused` for what the body is.
 */
export type TransferEnd =
  | { readonly how: 'sent' | 'cancelled' | 'source-ended' | 'source-lost' | 'sink-lost' }
  | {
      readonly how: 'refused';
      readonly code: ErrorCode;
      readonly detail: string;
      readonly ending: Ending;
      readonly facts: ErrorFacts;
    };

export type Report =
  | { readonly kind: 'ready' }
  /** Both descriptors are closed, and nothing of the transfer is left. */
  | {
      readonly kind: 'ended';
      readonly slot: number;
      readonly end: TransferEnd;
      /** How far a chunked source was read; null for one of known length. */
      readonly position: ChunkPosition | null;
    }
  /** More bytes are there than are allowed. Said once until a `look`. */
  | { readonly kind: 'more'; readonly slot: number };
