import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Admission } from './admission.ts';
import type { Config } from './config/config.ts';
import { GatewayError } from './core/errors.ts';
import { copiesAdded } from './core/import-copies.ts';
import type { ImportRequest } from './core/import-request.ts';
import type { Owner } from './core/owner.ts';
import { type Fetched, parsedJson } from './http/ask.ts';
import type { ImageAccess } from './image-access.ts';
import type { ImageLookup } from './image-lookup.ts';
import type { Reservation } from './ledger/ledger.ts';
import type { Log } from './log.ts';
import { pause } from './pause.ts';
import type { UploadRow } from './upload-row.ts';
import type { KnownImages } from './usage/known-images.ts';
import type { Caller } from './usage/usage.ts';

/** Between two looks at an image that is being imported, at first and at most. */
const firstWaitMs = 250;
const longestWaitMs = 15_000;

const storesAnswer = z.object({ stores: z.array(z.object({ 'read-only': z.string().optional() })) });

/** An import that the caller asks for. */
export interface ImportCall {
  readonly image: string;
  readonly imported: ImportRequest;
  readonly owner: Owner;
  readonly caller: Caller;
  /** Its address. */
  readonly client: string;
}

/** What an import may add, set aside. Whoever holds it says what became of the call. */
export interface MeteredImport {
  /** The API took the call, or nobody knows: its image is watched until the import has ended. */
  /** @param upstream `HOST:PORT` of the server that the call went to; null where none was tried. */
  began(upstream: string | null): void;
  /** The API refused the call. */
  refused(): Promise<void>;
}

/**
 * Imports make copies of data that is in the cloud already: their bytes do not cross the gateway, but they fill the
 * quota. What a call adds is set aside before the API hears of it, and settled when its image says that it has ended.
 */
export class Imports {
  readonly #ask: (target: string, caller: Caller) => Promise<Fetched>;
  readonly #lookup: ImageLookup;
  readonly #admission: Admission;
  readonly #knownImages: KnownImages;
  readonly #watches: ImportWatches;
  readonly #access: ImageAccess;

  constructor(
    ask: (target: string, caller: Caller) => Promise<Fetched>,
    lookup: ImageLookup,
    admission: Admission,
    knownImages: KnownImages,
    watches: ImportWatches,
    access: ImageAccess,
  ) {
    this.#access = access;
    this.#ask = ask;
    this.#lookup = lookup;
    this.#admission = admission;
    this.#knownImages = knownImages;
    this.#watches = watches;
  }

  /** @throws GatewayError as `Admission.admit` and `ImageLookup.record` do. */
  async admit(config: Config, call: ImportCall): Promise<MeteredImport> {
    const bytes = await this.#addedBytes(call);
    const { owner, caller } = call;
    const id = randomUUID();
    const reservation =
      bytes === 0
        ? null
        : (await this.#admission.admit(config, { id, owner, declaredBytes: bytes, caller })).reservation;
    return {
      began: (upstream) => {
        this.#knownImages.add(owner.project, call.image, 0);
        this.#watches.begin({
          id,
          call,
          reservation,
          upstream,
          lookup: this.#lookup,
          holdMs: config.upload.unknownHoldMs,
          // while the API brings in data nobody changes the record
          onEnd: this.#access.fillNow(call.image),
        });
      },
      refused: async () => reservation?.settle('released', 0),
    };
  }

  async #addedBytes({ image, imported, caller }: ImportCall): Promise<number> {
    const looked = await this.#lookup.record(image, caller);
    // the API will say what is wrong with such a call, and adds nothing
    if ('answer' in looked) return 0;
    if (looked.image.sizeBytes === null) {
      if (imported.method !== 'glance-direct' || looked.image.status !== 'uploading') return 0;
      // Glance would begin, and store what is there in as many copies as are asked for
      throw new GatewayError('image-busy', 'The data is not staged to its end.');
    }
    const { sizeBytes, stores } = looked.image;
    const writable = imported.allStores ? await this.#writableStores(caller) : 1;
    return sizeBytes * copiesAdded(imported, stores, writable);
  }

  async #writableStores(caller: Caller): Promise<number> {
    const answer = await this.#ask('/v2/info/stores', caller);
    const read = storesAnswer.safeParse(answer.status === 200 ? parsedJson(answer) : null);
    // 404: there is one store, and it has no name
    if (!read.success) return 1;
    return read.data.stores.filter((store) => store['read-only']?.toLowerCase() !== 'true').length;
  }
}

interface Watched {
  readonly id: string;
  readonly call: ImportCall;
  /** Null where the import adds nothing that could be set aside. */
  readonly reservation: Reservation | null;
  readonly upstream: string | null;
  readonly lookup: ImageLookup;
  /** Given up after this long without a word of the API about the image; 0 = never. */
  readonly holdMs: number;
  /** Called once, when the import has ended or is watched no longer. */
  readonly onEnd: () => void;
}

/** Imports under way, each looked at from time to time until it has ended. */
export class ImportWatches {
  readonly #log: Log;
  readonly #watching = new Map<
    string,
    { readonly watched: Watched; readonly startedAt: Date; readonly stop: AbortController }
  >();

  constructor(log: Log) {
    this.#log = log;
  }

  get size(): number {
    return this.#watching.size;
  }

  rows(): UploadRow[] {
    return [...this.#watching.values()].map(({ watched, startedAt }) => {
      const { id, call, reservation, upstream } = watched;
      const reservedBytes = reservation?.bytes ?? 0;
      const { image, owner, client } = call;
      return {
        id,
        start: { image, owner, declaredBytes: reservedBytes, client },
        lane: 'import',
        startedAt,
        upstream,
        progress: { receivedBytes: 0, sentBytes: 0 },
        reservedBytes,
        ending: null,
      };
    });
  }

  begin(watched: Watched): void {
    const stop = new AbortController();
    this.#watching.set(watched.id, { watched, startedAt: new Date(), stop });
    // the call is answered before the import has ended, and so may be the configuration it began with
    const release = watched.lookup.hold();
    void this.#watch(watched, stop.signal).finally(() => {
      this.#watching.delete(watched.id);
      watched.onEnd();
      release();
    });
  }

  /**
   * An operator waits no longer. The API goes on with it, so its bytes count as stored until a reading says how many there
   * are. False where there is no such import.
   */
  async giveUp(id: string): Promise<boolean> {
    const watching = this.#watching.get(id);
    if (watching === undefined) return false;
    const { watched, stop } = watching;
    this.#watching.delete(id);
    stop.abort();
    await watched.reservation?.settle('stored', watched.reservation.bytes);
    this.#log.warn(aboutOf(watched), 'import given up by an operator');
    return true;
  }

  /** Gives up on all: the process ends, and its ledger with it. */
  stop(): void {
    for (const { stop } of this.#watching.values()) stop.abort();
  }

  async #watch(watched: Watched, stop: AbortSignal): Promise<void> {
    let heardMs = performance.now();
    for (let waitMs = firstWaitMs; ; waitMs = Math.min(waitMs * 2, longestWaitMs)) {
      await pause(waitMs, stop);
      if (stop.aborted) return;
      const state = await watched.lookup.importState(watched.call.image, watched.call.caller);
      if (state !== 'undecided') heardMs = performance.now();
      if (stop.aborted || (await this.#ended(watched, state, performance.now() - heardMs))) return;
    }
  }

  async #ended(
    watched: Watched,
    state: 'running' | 'ended' | 'gone' | 'undecided',
    silentMs: number,
  ): Promise<boolean> {
    const { reservation, holdMs } = watched;
    const about = aboutOf(watched);
    if (state === 'running') return false;
    if (state === 'undecided') {
      if (holdMs === 0 || silentMs < holdMs) return false;
      // a reading that begins later sees what there is; what is still to come is not set aside any more
      this.#log.warn(about, 'import given up: the API never said that it ended');
    } else this.#log.info({ ...about, outcome: state }, 'import ended');
    const bytes = reservation?.bytes ?? 0;
    // which copies were made only a reading can tell; all that were asked for count until there is one
    await reservation?.settle(state === 'gone' ? 'released' : 'stored', state === 'gone' ? 0 : bytes);
    return true;
  }
}

function aboutOf({ id, call, reservation }: Watched): Record<string, unknown> {
  return {
    import: id,
    image: call.image,
    method: call.imported.method,
    reserved_bytes: reservation?.bytes ?? 0,
  };
}
