/** A request that the bytes of a client really contain. */
export interface LegalRequest {
  readonly method: string;
  readonly target: string;
  /** The last value of `X-Fuzz-Case`; null where there is none. */
  readonly token: string | null;
  /** Without the framing; as far as it came. */
  readonly body: Buffer;
  readonly whole: boolean;
  /** Names that `Connection` lists, in lower case: fields of the hop. */
  readonly named: readonly string[];
}

// RFC 9112 §3: words may be parted by more white space than one space, and some may stand behind them
// Node's parser takes RTSP for HTTP with these two methods, and does not say so: what is passed on is plain HTTP/1.1
const requestLine = /^([A-Z][A-Z-]*) +([!-~]+) +(?:HTTP|(?<=^(?:GET|POST) .*)RTSP)\/1\.([01]) *$/;
const fieldLine = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*)$/;
const chunkLine = /^([0-9a-fA-F]+)(?:;[\t -~\x80-\xff]*)?$/;

/**
 * Reads what a client wrote on one connection, by RFC 9112 and nothing beside it, up to the first byte that is no HTTP. A
 * gateway may answer fewer requests than these, and never another one. It shares no code with the gateway, and no
 * parser with Node.
 */
export function legalRequests(bytes: Buffer): LegalRequest[] {
  const requests: LegalRequest[] = [];
  let rest = bytes;
  for (;;) {
    // RFC 9112 §2.2: empty lines before a request are skipped, and may end with a line feed alone
    while (rest[0] === 0x0d || rest[0] === 0x0a) rest = rest.subarray(1);
    const end = rest.indexOf('\r\n\r\n');
    if (end === -1) return requests;
    const head = readHead(rest.subarray(0, end).toString('latin1'));
    if (head === null) return requests;
    const { method, target, token, named } = head;
    const { body, whole, wireBytes } = readBody(rest.subarray(end + 4), head);
    requests.push({ method, target, token, body, whole, named });
    if (!whole || head.last) return requests;
    rest = rest.subarray(end + 4 + wireBytes);
  }
}

interface Head {
  readonly method: string;
  readonly target: string;
  readonly token: string | null;
  readonly named: readonly string[];
  readonly framing: 'chunked' | number;
  /** Nothing that follows on the connection is a request. */
  readonly last: boolean;
}

function readHead(text: string): Head | null {
  const [first = '', ...lines] = text.split('\r\n');
  const [, method = '', target = '', minor = ''] = requestLine.exec(first) ?? [];
  if (method === '') return null;
  const values = new Map<string, string[]>();
  for (const line of lines) {
    const [, name = '', value = ''] = fieldLine.exec(line) ?? [];
    if (name === '') return null;
    const lower = name.toLowerCase();
    values.set(lower, [...(values.get(lower) ?? []), value.replace(/[ \t]+$/, '')]);
  }
  const framing = framingOf(values, minor);
  const hosts = values.get('host')?.length ?? 0;
  if (framing === null || hosts > 1 || (hosts === 0 && minor === '1')) return null;
  const options = listed(values.get('connection'));
  // as Node's parser, which takes the old name for the same
  const asksToKeep = [...options, ...listed(values.get('proxy-connection'))].includes('keep-alive');
  const kept = minor === '1' || asksToKeep;
  return {
    ...{ method, target, framing },
    token: values.get('x-fuzz-case')?.at(-1) ?? null,
    named: options.filter((name) => name !== '' && name !== 'close' && name !== 'keep-alive'),
    last: !kept || options.includes('close') || method === 'CONNECT',
  };
}

function listed(values: readonly string[] = []): string[] {
  return values
    .join(',')
    .toLowerCase()
    .split(/[\t ]*,[\t ]*/);
}

function framingOf(values: ReadonlyMap<string, readonly string[]>, minor: string): Head['framing'] | null {
  const lengths = values.get('content-length') ?? [];
  const codings = values.get('transfer-encoding') ?? [];
  if (lengths.length + codings.length === 0) return 0;
  if (lengths.length + codings.length > 1) return null;
  if (codings.length === 1)
    return minor === '1' && codings[0]?.toLowerCase() === 'chunked' ? 'chunked' : null;
  const bytes = /^\d+$/.test(lengths[0] ?? '') ? Number(lengths[0]) : Number.NaN;
  return Number.isSafeInteger(bytes) ? bytes : null;
}

interface Body {
  readonly body: Buffer;
  readonly whole: boolean;
  readonly wireBytes: number;
}

function readBody(bytes: Buffer, { framing }: Head): Body {
  if (framing === 'chunked') return readChunks(bytes);
  const body = bytes.subarray(0, framing);
  return { body, whole: body.length === framing, wireBytes: body.length };
}

function readChunks(bytes: Buffer): Body {
  const pieces: Buffer[] = [];
  const cut = (): Body => ({ body: Buffer.concat(pieces), whole: false, wireBytes: bytes.length });
  for (let at = 0; ; ) {
    const end = bytes.indexOf('\r\n', at);
    if (end === -1) return cut();
    const [, size = ''] = chunkLine.exec(bytes.toString('latin1', at, end)) ?? [];
    if (size === '') return cut();
    const sizeBytes = Number.parseInt(size, 16);
    at = end + 2;
    if (sizeBytes === 0) {
      const trailersEnd = endOfTrailers(bytes, at);
      return trailersEnd === null
        ? cut()
        : { body: Buffer.concat(pieces), whole: true, wireBytes: trailersEnd };
    }
    pieces.push(bytes.subarray(at, Math.min(bytes.length, at + sizeBytes)));
    at += sizeBytes;
    if (bytes.toString('latin1', at, at + 2) !== '\r\n') return cut();
    at += 2;
  }
}

/** Null where they are no fields, or have no end. */
function endOfTrailers(bytes: Buffer, start: number): number | null {
  for (let at = start; ; ) {
    const end = bytes.indexOf('\r\n', at);
    if (end === -1) return null;
    if (end === at) return end + 2;
    if (!fieldLine.test(bytes.toString('latin1', at, end))) return null;
    at = end + 2;
  }
}
