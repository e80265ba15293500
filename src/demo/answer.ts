import { randomUUID } from 'node:crypto';
import { type ServerResponse, STATUS_CODES } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ApiError } from './api-error.ts';

/**
 * What a handler wants said. `content` is text, an object that is sent as JSON, or a stream of as many bytes as the
 * Content-Length in `headers` says.
 */
export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly content?: string | object | Readable;
}

/** The phrases of webob where they are not Node's. */
const reasons: Readonly<Record<number, string>> = {
  413: 'Request Entity Too Large',
  416: 'Requested Range Not Satisfiable',
};

function reasonOf(status: number): string {
  return reasons[status] ?? STATUS_CODES[status] ?? '';
}

/** Glance's error bodies: JSON where the client accepts it (and for every 401), else plain text. A bug is a 500. */
export function errorAnswer(error: unknown, accept = ''): Answer {
  const { status, message, headers } =
    error instanceof ApiError
      ? error
      : new ApiError(
          500,
          'The server has either erred or is incapable of performing the requested operation.',
        );
  const title = reasonOf(status);
  const code = `${status} ${title}`;
  const json = status === 401 || accept.includes('application/json');
  return { status, headers, content: json ? { message, code, title } : `${code}\n\n${message}\n\n   ` };
}

/** Rejects when the client leaves before a streamed answer is out. */
export async function send(
  response: ServerResponse,
  { status, headers = {}, content }: Answer,
): Promise<void> {
  response.setHeader('X-Openstack-Request-Id', `req-${randomUUID()}`);
  if (content instanceof Readable) {
    response.writeHead(status, reasonOf(status), headers);
    await pipeline(content, response);
    return;
  }
  const isText = typeof content === 'string';
  const body = content === undefined || isText ? (content ?? '') : JSON.stringify(content);
  const type = isText ? 'text/plain; charset=UTF-8' : 'application/json';
  response.writeHead(status, reasonOf(status), {
    ...(content === undefined ? {} : { 'Content-Type': type }),
    // a Content-Length of 0 stands even beside 204, as in Glance
    'Content-Length': Buffer.byteLength(body),
    ...headers,
  });
  response.end(body);
}
