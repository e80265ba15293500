import { createRequire } from 'node:module';
import { z } from 'zod';

/** Where Node's parser looks for whom to tell (`HTTPParser.kOn...`): Node 18 to 24. */
const onHeaders = 1;
const onHeadersComplete = 2;
const onBody = 3;
const onMessageComplete = 4;

interface Native {
  [event: number]: unknown;
  initialize(type: number, resource: object): void;
  execute(bytes: Uint8Array): unknown;
}

const common = z.object({
  HTTPParser: z.custom<{ readonly REQUEST: number; new (): Native }>((value) => typeof value === 'function'),
});
const { HTTPParser } = common.parse(createRequire(import.meta.url)('_http_common'));

const head = Buffer.from('PUT / HTTP/1.1\r\nHost: images\r\nTransfer-Encoding: chunked\r\n\r\n');

/** The parser that every server of Node has, behind the head of a request with a chunked body. */
export class NodeParser {
  /** Requests whose head was read, the first one included. */
  heads = 0;
  /** Requests that were read to their end. */
  complete = 0;
  readonly #native = new HTTPParser();
  readonly #pieces: Buffer[] = [];

  constructor() {
    this.#native.initialize(HTTPParser.REQUEST, {});
    this.#native[onHeaders] = () => {};
    this.#native[onHeadersComplete] = () => {
      this.heads += 1;
      return 0;
    };
    this.#native[onBody] = (bytes: Buffer) => this.#pieces.push(Buffer.from(bytes));
    this.#native[onMessageComplete] = () => {
      this.complete += 1;
    };
    this.read(head);
  }

  /** The bodies until now. */
  get body(): Buffer {
    return Buffer.concat(this.#pieces);
  }

  /** Null, or why it does not take these bytes; it takes no others then. */
  read(bytes: Uint8Array): string | null {
    if (bytes.length === 0) return null;
    const read = this.#native.execute(bytes);
    return read instanceof Error ? `${'code' in read ? read.code : ''} ${read.message}` : null;
  }
}
