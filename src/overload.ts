import type { Config } from './config/config.ts';
import { Bound } from './core/bound.ts';
import { GatewayError } from './core/errors.ts';

/** What there may only be so much of at once: connections of clients, uploads, bytes of bodies in memory. */
export const boundNames = ['connections', 'uploads', 'buffered'] as const;
export type BoundName = (typeof boundNames)[number];

/**
 * What a request costs: `upload` carries a body; `judged` is one whose body is held in memory whole; `other` neither.
 */
export type Weight = 'upload' | 'judged' | 'other';

/**
 * The bounds of this process, over all listeners and configurations. Near one of them answers say `Connection: close`,
 * so that clients who only keep a connection go; at one of them what is new is refused, and what is under way goes on.
 */
export class Overload {
  /** Connections that are served. */
  readonly connections: Bound;
  /** Uploads from the moment their head is understood until they are answered. */
  readonly uploads: Bound;
  /**
   * Bytes of bodies: in lanes with their sockets to the API, and of bodies that are held whole. What Node reads ahead of a
   * lane is not in it: at most 64 KiB for each connection.
   */
  readonly buffered: Bound;
  readonly #onRefusal: (bound: BoundName) => void;

  /**
   * @param onRefusal told of everything that is refused, and by which bound.
   * @param heldInKernel bytes of bodies in the pipes of the splice lane.
   */
  constructor(config: Config, onRefusal: (bound: BoundName) => void, heldInKernel: () => number = () => 0) {
    this.connections = new Bound(config.maxConnections);
    this.uploads = new Bound(config.maxUploads);
    this.buffered = new Bound(config.maxBufferedBytes, heldInKernel);
    this.#onRefusal = onRefusal;
  }

  /** What is held above a smaller bound stays. */
  reconfigure(config: Config): void {
    this.connections.most = config.maxConnections;
    this.uploads.most = config.maxUploads;
    this.buffered.most = config.maxBufferedBytes;
  }

  /** Nine tenths of one of the bounds are held. */
  get crowded(): boolean {
    return this.connections.crowded || this.uploads.crowded || this.buffered.crowded;
  }

  /** True if one more connection may be served; then `endConnection` has to follow. */
  beginConnection(): boolean {
    if (this.connections.acquire()) return true;
    this.#onRefusal('connections');
    return false;
  }

  endConnection(): void {
    this.connections.add(-1);
  }

  /** @throws GatewayError `overloaded`. */
  begin(weight: Weight): Place {
    if (weight !== 'other' && this.buffered.full) throw this.#refuse('buffered');
    if (weight === 'upload' && !this.uploads.acquire()) throw this.#refuse('uploads');
    return new Place(this, weight, () => this.#refuse('buffered'));
  }

  #refuse(bound: 'uploads' | 'buffered'): GatewayError {
    this.#onRefusal(bound);
    return new GatewayError('overloaded', details[bound]);
  }
}

const details = {
  uploads: 'As many uploads are under way as this gateway takes at once.',
  buffered: 'This gateway holds as many bytes in memory as it may.',
} as const;

/** What one request holds of the bounds. */
export class Place {
  readonly #overload: Overload;
  readonly #weight: Weight;
  readonly #refuse: () => GatewayError;
  #bytes = 0;
  #released = false;

  constructor(overload: Overload, weight: Weight, refuse: () => GatewayError) {
    this.#overload = overload;
    this.#weight = weight;
    this.#refuse = refuse;
  }

  /** Holds that many more bytes until the request is over. The reason where it may not; null where it may. */
  readonly hold = (bytes: number): GatewayError | null => {
    if (this.#released || !this.#overload.buffered.acquire(bytes)) return this.#refuse();
    this.#bytes += bytes;
    return null;
  };

  /** The request is over. Harmless when called again. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#overload.buffered.add(-this.#bytes);
    if (this.#weight === 'upload') this.#overload.uploads.add(-1);
  }
}
