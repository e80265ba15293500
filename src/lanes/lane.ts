import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Bound } from '../core/bound.ts';
import type { EndGate } from '../core/end-gate.ts';
import type { LeastRate } from '../core/least-rate.ts';
import type { TimeLimit } from '../core/time-limit.ts';
import type { Progress } from './progress.ts';

/** One body on its way: what a lane needs to carry it, and nothing about whose it is. */
export interface Passage {
  /** Paused, not a byte of its body read yet. */
  readonly client: IncomingMessage;
  /** Connected, the head of the request written; nobody else writes to it. */
  readonly upstream: Socket;
  /** What the client promised, in bytes, or null when the length is unknown. */
  readonly declaredBytes: number | null;
  /**
   * True where the client's framing tells its end after the last byte (chunked), so that the promise may be wrong. The last
   * byte is then held until the end has come: a body that is longer than promised never looks whole upstream.
   */
  readonly endFollows: boolean;
  /**
   * Claimed right before the write that ends the body: with its last byte, or the frame that ends it. Refused, the lane waits
   * until it is told by `onFree`, which is its own while it carries.
   */
  readonly end: EndGate;
  /** The most the body may have, in bytes; 0 = no limit. */
  readonly maxBytes: number;
  /** Largest frame of a body of unknown length, in bytes. */
  readonly frameBytes: number;
  readonly chunkBytes: number;
  /** A body of known length with less than this to come is not worth handing over to the kernel. */
  readonly spliceFromBytes: number;
  /** How long a frame may wait to be filled; within a tenth of it where the client has fallen silent. */
  readonly flushAfterMs: number;
  /** How long the upstream may take for `chunkBytes`; time in which nothing waits for it does not count. 0 = for ever. */
  readonly chunkTimeoutMs: number;
  /** How long the client may send nothing while it is read from; 0 = for ever. */
  readonly clientSocketTimeoutMs: number;
  /** What the client must send while it is read from; null = nothing. */
  readonly leastRate: LeastRate | null;
  /** How long the body may take in all. */
  readonly timeLimit: TimeLimit;
  readonly progress: Progress;
  /** Bytes that may be sent at the start. For a known length: all of them. */
  readonly allowedBytes: number;
  /** Asks to send more than `allowedBytes`; the result is the new sum. Rejects when the quota is met. */
  readonly allowMore: () => Promise<number>;
  /** Where the bytes that are held are counted. While it is full no frame is filled: what is there is sent. */
  readonly buffered: Bound;
  /** Aborted with a GatewayError as its reason when the upload has to end. */
  readonly signal: AbortSignal;
  /** Resolves when the upstream has begun to answer or can no longer be written to. */
  readonly interrupted: Promise<void>;
}

/**
 * `sent`: every byte of the body, and its end, are with the upstream's kernel.
 * `interrupted`: the upstream answered or went away first; the rest of the body is unread.
 */
export type Carried = 'sent' | 'interrupted';

export type LaneName = 'stream' | 'splice';

/**
 * A way to move the bytes of an upload. Promises of every lane:
 * - the upstream gets exactly the client's bytes, in order, framed as `declaredBytes` demands;
 *   a body that was cut short never ends cleanly: the lane stops writing, the caller resets;
 * - the end of a body is not sent while somebody holds it;
 * - no byte is sent beyond what is allowed, and no more than about one and a quarter chunks are held, or a block where all
 *   bodies together are at their bound;
 * - it rejects with a GatewayError that has an `ending`: `client-gone`, `client-stalled`,
 *   `client-too-slow`, `too-large`, `quota-exceeded`, `upstream-stalled`, or the reason of the signal;
 * - it blames the client for no time in which it did not read from it, and the upstream for none in which it gave it nothing,
 *   and nobody for the time that the end was held;
 * - when it settles, in whatever way, it listens to nothing, has no timer, and has left the client paused.
 */
export interface Lane {
  readonly name: LaneName;
  /** Called for a chunked upload in the turn in which its head was parsed. */
  prepare(request: IncomingMessage): void;
  carry(passage: Passage): Promise<Carried>;
}

/** An empty body whose end is still to be told would be whole with its head, so it goes in frames, of which there are none. */
export const inFrames = ({
  declaredBytes,
  endFollows,
}: Pick<Passage, 'declaredBytes' | 'endFollows'>): boolean =>
  declaredBytes === null || (declaredBytes === 0 && endFollows);
