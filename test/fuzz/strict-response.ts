/** An answer as the strictest client would take it. */
export interface StrictResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly fields: ReadonlyMap<string, string>;
  readonly body: Buffer;
  /** Its end is the connection's: whole only if that ended with a FIN. */
  readonly untilClose: boolean;
}

export interface ResponseStream {
  /** Final answers that are whole, in order. */
  readonly responses: readonly StrictResponse[];
  readonly informational: number;
  /** What stands after the last whole one. */
  readonly rest: Buffer;
  /** What no strict client would take; null where there is nothing wrong. */
  readonly fault: string | null;
}

const statusLine = /^HTTP\/1\.1 ([1-9]\d\d) [\t -~\x80-\xff]*$/;
const fieldLine = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*)$/;

/**
 * Reads all that came on a connection.
 * @param methods of the requests in order; those beyond it count as GET.
 * @param ended by FIN: an answer that is framed by the connection's end is whole.
 */
export function readResponses(bytes: Buffer, methods: readonly string[], ended: boolean): ResponseStream {
  const responses: StrictResponse[] = [];
  let informational = 0;
  let rest = bytes;
  const result = (fault: string | null): ResponseStream => ({ responses, informational, rest, fault });
  for (;;) {
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) {
      const begins = rest.length === 0 || 'HTTP/1.1 '.startsWith(rest.subarray(0, 9).toString('latin1'));
      const farewell = responses.at(-1)?.fields.get('connection') === 'close';
      // a refusal of what could not be read as a request cannot know that it was a HEAD
      return result(begins || farewell ? null : 'what follows is no answer');
    }
    const [first = '', ...lines] = rest.subarray(0, end).toString('latin1').split('\r\n');
    const status = Number(statusLine.exec(first)?.[1] ?? 0);
    if (status === 0) return result(`the status line is ${JSON.stringify(first)}`);
    const fields = new Map<string, string>();
    for (const line of lines) {
      const [, name = '', value = ''] = fieldLine.exec(line) ?? [];
      if (name === '') return result(`a field is ${JSON.stringify(line)}`);
      const lower = name.toLowerCase();
      const once = ['content-length', 'transfer-encoding'];
      if (fields.has(lower) && once.includes(lower)) return result(`${name} stands twice`);
      fields.set(lower, value.trim());
    }
    if (status === 101) return result('the protocol is changed');
    if (status < 200) {
      informational += 1;
      rest = rest.subarray(end + 4);
      continue;
    }
    const after = rest.subarray(end + 4);
    const bodiless = status === 204 || status === 304 || methods[responses.length] === 'HEAD';
    const body = bodiless ? { data: Buffer.alloc(0), wireBytes: 0 } : readBody(after, fields, ended);
    if (typeof body === 'string') return result(body);
    if (body === null) return result(null);
    const untilClose = !bodiless && !fields.has('content-length') && !fields.has('transfer-encoding');
    responses.push({ status, fields, body: body.data, untilClose });
    rest = after.subarray(body.wireBytes);
  }
}

/** Null while it is not whole, a sentence where it cannot be. */
function readBody(
  bytes: Buffer,
  fields: ReadonlyMap<string, string>,
  ended: boolean,
): { data: Buffer; wireBytes: number } | string | null {
  const length = fields.get('content-length');
  const coding = fields.get('transfer-encoding');
  if (length !== undefined && coding !== undefined) return 'two framings';
  if (coding !== undefined && coding !== 'chunked') return `a coding of ${coding}`;
  if (length !== undefined) {
    if (!/^\d{1,16}$/.test(length)) return `a length of ${length}`;
    const wireBytes = Number(length);
    return bytes.length < wireBytes ? null : { data: bytes.subarray(0, wireBytes), wireBytes };
  }
  if (coding === undefined) return ended ? { data: bytes, wireBytes: bytes.length } : null;
  const chunks: Buffer[] = [];
  for (let at = 0; ; ) {
    const end = bytes.indexOf('\r\n', at);
    if (end < 0) return null;
    const size = bytes.subarray(at, end).toString('latin1');
    if (!/^[0-9a-f]{1,8}$/i.test(size)) return `a chunk of ${JSON.stringify(size)}`;
    const sizeBytes = Number.parseInt(size, 16);
    at = end + 2;
    if (bytes.length < at + sizeBytes + 2) return null;
    if (bytes.subarray(at + sizeBytes, at + sizeBytes + 2).toString('latin1') !== '\r\n') {
      return 'a chunk has no end';
    }
    chunks.push(bytes.subarray(at, at + sizeBytes));
    at += sizeBytes + 2;
    if (sizeBytes === 0) return { data: Buffer.concat(chunks), wireBytes: at };
  }
}
