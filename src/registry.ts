import { randomUUID } from 'node:crypto';
import { EndGate } from './core/end-gate.ts';
import type { GatewayError } from './core/errors.ts';
import type { Owner } from './core/owner.ts';
import { EndHold } from './end-hold.ts';
import type { Progress } from './lanes/lane.ts';
import type { UploadRow } from './upload-row.ts';

export interface UploadStart {
  readonly image: string;
  readonly owner: Owner;
  /** `import` where the API itself brings in the bytes. */
  readonly lane: string;
  readonly declaredBytes: number | null;
  readonly client: string;
}

/** One upload under way. Whoever began it ends it, in a `finally`. */
export class Upload implements UploadRow {
  readonly id: string;
  readonly start: UploadStart;
  readonly startedAt: Date;
  readonly ending = null;
  readonly progress: Progress = { receivedBytes: 0, sentBytes: 0, endSent: false };
  /** Claimed before the end of the body is sent. */
  readonly endGate = new EndGate();
  /** Set aside in the ledger now. */
  reservedBytes = 0;
  /** Where it goes; null while no server was tried. */
  server: URL | null = null;
  /** Asks the API whether the image is still there, and ends the upload if it is not. Never throws. */
  look: () => Promise<void> = async () => {};
  /** Resolves when the upload is over: the upstream connection gone and the bytes settled. */
  readonly ended: Promise<void>;
  readonly #abort = new AbortController();
  readonly #end: () => void;

  constructor(id: string, start: UploadStart, onEnd: () => void) {
    this.id = id;
    this.start = start;
    this.startedAt = new Date();
    let resolve = (): void => {};
    this.ended = new Promise((done) => {
      resolve = done;
    });
    this.#end = () => {
      onEnd();
      resolve();
    };
  }

  get upstream(): string | null {
    return this.server?.host ?? null;
  }

  /** Aborted with a GatewayError as its reason. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Ends the upload soon; the first reason counts. `ended` tells when it is done. */
  abort(reason: GatewayError): void {
    this.#abort.abort(reason);
  }

  end(): void {
    this.#end();
  }
}

/** The uploads under way, summed up in the words of the log. Bytes are those of uploads that said their length. */
export interface UploadsLeft {
  readonly uploads: number;
  readonly declared_bytes: number;
  readonly bytes_to_come: number;
  readonly uploads_of_unknown_length: number;
  /**
   * When the last of those that said their length is whole, if each goes on as fast as it came on average; null where
   * there is none, or where one has not begun to move.
   */
  readonly expected_seconds: number | null;
}

/** The uploads under way in this process. */
export class Registry {
  readonly #uploads = new Map<string, Upload>();
  /** Of the deletes under way, by image. */
  readonly #endHolds = new Map<string, Set<EndHold>>();

  get size(): number {
    return this.#uploads.size;
  }

  /** A fresh id for an upload that is about to reserve. */
  newId(): string {
    return randomUUID();
  }

  begin(id: string, start: UploadStart): Upload {
    const upload = new Upload(id, start, () => this.#uploads.delete(id));
    this.#uploads.set(id, upload);
    for (const hold of this.#endHolds.get(start.image) ?? []) hold.take(upload.endGate, upload.ended);
    return upload;
  }

  /** What is still to come, in bytes, where uploads have said how long they are. */
  left(): UploadsLeft {
    const nowMs = Date.now();
    const uploads = this.list();
    const sized = uploads.flatMap(({ start: { declaredBytes }, startedAt, progress: { receivedBytes } }) => {
      if (declaredBytes === null) return [];
      const toComeBytes = declaredBytes - receivedBytes;
      const tookMs = nowMs - startedAt.getTime();
      const leftMs = toComeBytes === 0 ? 0 : (toComeBytes * tookMs) / receivedBytes;
      return [{ declaredBytes, toComeBytes, leftMs }];
    });
    const longestMs = Math.max(...sized.map(({ leftMs }) => leftMs));
    return {
      uploads: uploads.length,
      declared_bytes: sized.reduce((sum, { declaredBytes }) => sum + declaredBytes, 0),
      bytes_to_come: sized.reduce((sum, { toComeBytes }) => sum + toComeBytes, 0),
      uploads_of_unknown_length: uploads.length - sized.length,
      expected_seconds: Number.isFinite(longestMs) ? Math.ceil(longestMs / 1000) : null,
    };
  }

  get(id: string): Upload | undefined {
    return this.#uploads.get(id);
  }

  list(): Upload[] {
    return [...this.#uploads.values()];
  }

  /** The origin of the server that an upload of the image is on its way to; null where there is none. */
  serverOf(image: string): string | null {
    const upload = this.list().find(({ start, server }) => start.image === image && server !== null);
    return upload?.server?.origin ?? null;
  }

  /**
   * A delete of the image is on its way: until it is released no upload of the image sends the end of its body, nor does one
   * that begins meanwhile.
   */
  holdEnds(image: string): EndHold {
    const holds = this.#endHolds.get(image) ?? new Set<EndHold>();
    this.#endHolds.set(image, holds);
    const hold = new EndHold(() => {
      holds.delete(hold);
      if (holds.size === 0) this.#endHolds.delete(image);
    });
    holds.add(hold);
    for (const { start, endGate, ended } of this.list()) {
      if (start.image === image) hold.take(endGate, ended);
    }
    return hold;
  }

  /** Aborts every upload of the image; resolves when all of them are over. */
  async cancelImage(image: string, reason: GatewayError): Promise<void> {
    const uploads = this.list().filter(({ start }) => start.image === image);
    for (const upload of uploads) upload.abort(reason);
    await Promise.all(uploads.map(({ ended }) => ended));
  }

  /** The image may be gone: looks once for each of its uploads, with the eyes of who uploads. Never throws. */
  async lookAtImage(image: string): Promise<void> {
    await Promise.all(this.list().map((upload) => (upload.start.image === image ? upload.look() : null)));
  }

  /** Aborts everything; resolves when all of it is over. */
  async cancelAll(reason: GatewayError): Promise<void> {
    const uploads = this.list();
    for (const upload of uploads) upload.abort(reason);
    await Promise.all(uploads.map(({ ended }) => ended));
  }
}
