import { z } from 'zod';
import { RawClient, type RawResponse } from '../../support/raw-client.ts';
import { createImage } from './image.ts';
import { type Bearer, identityHeaders } from './owner.ts';
import { publish } from './secrets.ts';

export const KiB = 1024;
export const MiB = 1024 * KiB;

export interface UploadRequest {
  readonly origin: string;
  readonly owner: Bearer;
  readonly imageId: string;
  /** Sent as Content-Length; without it the body goes in chunks and its length is not told. */
  readonly contentLength?: number;
  /** Default `file`. */
  readonly action?: 'file' | 'stage';
  /** More or other headers. */
  readonly headers?: Readonly<Record<string, string>>;
}

const open = new Set<RawClient>();
// a root hook: a test that failed half-way must not hold an image in `saving` for those after it
afterEach(() => {
  for (const client of open) client.destroy();
  open.clear();
});

/** A PUT of image data in the hands of a test, which says when the next bytes go and whether there is an end. */
export class Upload {
  readonly client: RawClient;
  /** Body bytes handed to the kernel. */
  sentBytes = 0;
  /** The answer, if it is here already. */
  answered: RawResponse | null = null;
  readonly answer: Promise<RawResponse>;
  readonly #chunked: boolean;

  /** Connects and sends the head. */
  static async begin(request: UploadRequest): Promise<Upload> {
    const { origin, owner, imageId, contentLength, action = 'file' } = request;
    const chunked = contentLength === undefined;
    const headers = {
      Host: new URL(origin).host,
      'Content-Type': 'application/octet-stream',
      Accept: 'application/json',
      ...(chunked ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': String(contentLength) }),
      ...identityHeaders(owner),
      ...request.headers,
    };
    const client = await RawClient.connect(Number(new URL(origin).port));
    const upload = new Upload(client, chunked);
    await client.request(
      `PUT /v2/images/${imageId}/${action} HTTP/1.1`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    );
    return upload;
  }

  private constructor(client: RawClient, chunked: boolean) {
    this.client = client;
    open.add(client);
    this.#chunked = chunked;
    this.answer = client.response().then((response) => {
      this.answered = response;
      publish('the answer to an upload', answerText(response));
      return response;
    });
    // a test that cuts the connection does not look at the answer
    this.answer.catch(() => {});
  }

  /** Sends this many zero bytes, in pieces of at most 1 MiB, and stops early once there is an answer. */
  async send(bytes: number): Promise<void> {
    let left = bytes;
    while (left > 0 && this.answered === null) {
      const piece = Buffer.alloc(Math.min(MiB, left));
      if (this.#chunked) await this.client.chunk(piece);
      else await this.client.write(piece);
      this.sentBytes += piece.length;
      left -= piece.length;
    }
  }

  /** Ends the body, if its framing needs that, and resolves with the answer. */
  async finish(): Promise<RawResponse> {
    if (this.#chunked && this.answered === null) await this.client.chunk('');
    return this.answer;
  }
}

/** Sends a whole body of zeros. */
export async function put(request: UploadRequest, bytes: number): Promise<RawResponse> {
  const upload = await Upload.begin(request);
  await upload.send(bytes);
  return await upload.finish();
}

/** Uploads into a new image, and resolves with the status and the image. */
export async function putNew(
  origin: string,
  owner: Bearer,
  bytes: number,
  framing: Framing = 'Content-Length',
): Promise<{ readonly status: number; readonly code: string; readonly imageId: string }> {
  const imageId = await createImage(origin, owner);
  const answer = await put({ origin, owner, imageId, ...framed(framing, bytes) }, bytes);
  return { status: answer.status, code: problemCode(answer), imageId };
}

function answerText({ headers, body }: RawResponse): string {
  return `${[...headers].map(([name, values]) => `${name}: ${values.join()}`).join('\n')}\n${body.toString()}`;
}

/** The `code` of the gateway's own error; empty where the answer is none of its. */
export function problemCode({ headers, body }: RawResponse): string {
  if (headers.get('content-type')?.join() !== 'application/problem+json') return '';
  return z.object({ code: z.string() }).parse(JSON.parse(body.toString())).code;
}

/** The two ways to send a body: its length told before, or not. */
export const framings = ['Content-Length', 'chunked'] as const;
export type Framing = (typeof framings)[number];

/** `{ contentLength }` where the framing tells it. */
export function framed(framing: Framing, bytes: number): Pick<UploadRequest, 'contentLength'> {
  return framing === 'chunked' ? {} : { contentLength: bytes };
}
