import { z } from 'zod';
import { GatewayError } from './core/errors.ts';
import type { StatusLookup } from './core/profile.ts';
import { type Fetched, parsedJson } from './http/ask.ts';
import type { Caller } from './usage/usage.ts';

const imageDocument = z.record(z.string(), z.unknown());

/** `running`: data may still come in. `undecided`: the API cannot be asked, or says what nobody understands. */
export type ImageState = 'stored' | 'not-stored' | 'gone' | 'running' | 'undecided';

/** What the API says about an image, as far as a gateway needs it. */
export interface ImageRecord {
  readonly status: string;
  /** The project whose image it is; null where the API names none. */
  readonly owner: string | null;
  /** Null while there are no bytes. */
  readonly sizeBytes: number | null;
  /** Ids of the stores that hold it; empty where the API does not tell. */
  readonly stores: readonly string[];
  /** True while the API itself brings in data (glance.md §1.1: `os_glance_import_task` and its relatives). */
  readonly importing: boolean;
}

/** A question to the API in the gateway's own name, for an image of anybody. */
export interface Operator {
  /** @throws GatewayError `identity-unavailable`. */
  caller(): Promise<Caller>;
  /** True if what is not there for the operator is not there at all. Throws as `caller`. */
  seesEverything(): Promise<boolean>;
}

/** Asks the API about one image. */
export class ImageLookup {
  readonly #status: StatusLookup | null;
  readonly #ask: (target: string, caller: Caller) => Promise<Fetched>;
  readonly #operator: Operator | null;
  /** Keeps what is asked through open, until the function it returns is called. For who asks longer than a request lasts. */
  readonly hold: () => () => void;

  /** @param operator asked when a caller's own token has expired; null where there is no such account. */
  constructor(
    status: StatusLookup | null,
    ask: (target: string, caller: Caller) => Promise<Fetched>,
    operator: Operator | null,
    hold: () => () => void,
  ) {
    this.#status = status;
    this.#ask = ask;
    this.#operator = operator;
    this.hold = hold;
  }

  get possible(): boolean {
    return this.#status !== null;
  }

  /** True where the API says whose an image is. */
  get tellsOwner(): boolean {
    return this.#status !== null && this.#status.owner !== null;
  }

  /**
   * The image as the caller sees it, or the API's answer where that is none: 404, 401, 503.
   * @throws GatewayError as `ask` does, and `upstream-invalid` for an answer that is no image.
   */
  async record(
    image: string,
    caller: Caller,
  ): Promise<{ readonly image: ImageRecord } | { readonly answer: Fetched }> {
    const lookup = this.#status;
    if (lookup === null) throw new Error('the profile does not say how an image is looked up');
    const answer = await this.#ask(
      lookup.path.replace('{image}', () => image),
      caller,
    );
    if (answer.status !== 200) return { answer };
    const read = imageDocument.safeParse(parsedJson(answer));
    if (!read.success) throw new GatewayError('upstream-invalid', 'The API answered with no image.');
    const record = read.data;
    const owner = lookup.owner === null ? null : record[lookup.owner];
    return {
      image: {
        status: String(record[lookup.field]),
        owner: typeof owner === 'string' && owner !== '' ? owner : null,
        sizeBytes: typeof record.size === 'number' ? record.size : null,
        stores: listOf(record.stores),
        importing:
          record[lookup.field] === 'importing' ||
          typeof record.os_glance_import_task === 'string' ||
          listOf(record.os_glance_importing_to_stores).length > 0,
      },
    };
  }

  /** Never throws. */
  async state(image: string, caller: Caller): Promise<ImageState> {
    try {
      const looked = await this.record(image, caller);
      if ('image' in looked) return this.#stateOf(looked.image);
      if (isGone(looked.answer)) return 'gone';
      return looked.answer.status === 401 ? await this.#stateForOperator(image) : 'undecided';
    } catch {
      return 'undecided';
    }
  }

  /** What became of an import. Never throws. */
  async importState(image: string, caller: Caller): Promise<'running' | 'ended' | 'gone' | 'undecided'> {
    try {
      let looked = await this.record(image, caller);
      let believed = true;
      if ('answer' in looked && looked.answer.status === 401 && this.#operator !== null) {
        looked = await this.record(image, await this.#operator.caller());
        believed = await this.#operator.seesEverything();
      }
      if ('image' in looked) return looked.image.importing ? 'running' : 'ended';
      return believed && isGone(looked.answer) ? 'gone' : 'undecided';
    } catch {
      return 'undecided';
    }
  }

  /** The caller's token has expired since: an upload outlives it, and so does the look at its image. */
  async #stateForOperator(image: string): Promise<ImageState> {
    if (this.#operator === null) return 'undecided';
    const looked = await this.record(image, await this.#operator.caller());
    if ('image' in looked) return this.#stateOf(looked.image);
    // to an account that does not see everything, an image of somebody else is gone always
    return isGone(looked.answer) && (await this.#operator.seesEverything()) ? 'gone' : 'undecided';
  }

  #stateOf({ status, sizeBytes }: ImageRecord): ImageState {
    if (this.#status?.stored.includes(status)) return 'stored';
    if (this.#status?.notStored.includes(status)) return 'not-stored';
    // a staged image stays `uploading`; its size is set when its data is whole (glance.md §1.3)
    return sizeBytes === null ? 'running' : 'stored';
  }
}

/** Glance writes lists of stores with commas. */
const listOf = (value: unknown): string[] =>
  typeof value === 'string' && value !== '' ? value.split(',') : [];

const isGone = ({ status }: Fetched): boolean => status === 404 || status === 410;
