/** A request as the strictest server would take it. */
export interface StrictRequest {
  readonly method: string;
  readonly target: string;
  /** Names in lower case. */
  readonly fields: ReadonlyMap<string, string>;
  /** Of the body, without the framing. Grows while it arrives. */
  readonly pieces: Buffer[];
  whole: boolean;
}

export interface StrictRequestEvents {
  head(request: StrictRequest): void;
  whole(request: StrictRequest): void;
  /** What no strict server would take; nothing more is read after it. */
  fault(text: string): void;
}

/** As long as the gateway lets the heads of its clients be, and what it adds itself. */
const longestHeadBytes = 66 * 1024;
const mostFields = 200 + 12;

// RFC 9110 §5.6.2 without the underscore, which servers behind WSGI read as a hyphen
const fieldLine =
  /^([!#$%&'*+.^`|~0-9A-Za-z-]+):[ \t]*([!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?|)$/;
const requestLine = /^([A-Z-]+) (\/[!-~]*) HTTP\/1\.1$/;

const ofTheHop = [
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'upgrade',
  'expect',
  'http2-settings',
];

/**
 * Reads what arrives on one connection by the narrowest reading of RFC 9112, and asks for more: the target in its canonical
 * spelling, no field of the hop, one framing. It shares no code with the gateway, and no parser with Node.
 */
export class StrictRequests {
  readonly #events: StrictRequestEvents;
  #rest: Buffer = Buffer.alloc(0);
  #request: StrictRequest | null = null;
  /** Of the body under way: bytes to come, or those of the chunk under way. */
  #leftBytes = 0;
  #chunked: 'no' | 'size' | 'data' | 'end' = 'no';
  #faulty = false;

  constructor(events: StrictRequestEvents) {
    this.#events = events;
  }

  /** True in the middle of a request. */
  get under(): boolean {
    return this.#request !== null || this.#rest.length > 0;
  }

  feed(bytes: Buffer): void {
    if (this.#faulty) return;
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    while (!this.#faulty && (this.#request === null ? this.#readHead() : this.#readBody(this.#request)));
  }

  #fault(text: string): false {
    this.#faulty = true;
    this.#events.fault(text);
    return false;
  }

  #readHead(): boolean {
    const end = this.#rest.indexOf('\r\n\r\n');
    if (end < 0) return this.#rest.length > longestHeadBytes ? this.#fault('the head has no end') : false;
    const head = this.#rest.subarray(0, end).toString('latin1');
    if (head.length > longestHeadBytes) return this.#fault(`the head has ${head.length} bytes`);
    this.#rest = this.#rest.subarray(end + 4);
    const [first = '', ...lines] = head.split('\r\n');
    const line = requestLine.exec(first);
    if (line === null) return this.#fault(`the request line is ${JSON.stringify(first)}`);
    const [, method = '', target = ''] = line;
    const wrong = targetFault(method, target);
    if (wrong !== null) return this.#fault(`${wrong}: ${target}`);
    if (lines.length > mostFields) return this.#fault(`the head has ${lines.length} fields`);
    const fields = new Map<string, string>();
    for (const each of lines) {
      const field = fieldLine.exec(each);
      if (field === null) return this.#fault(`a field is ${JSON.stringify(each)}`);
      const [, name = '', value = ''] = field;
      const lower = name.toLowerCase();
      if (ofTheHop.includes(lower)) return this.#fault(`a field of the hop: ${name}`);
      const once = ['host', 'content-length', 'transfer-encoding', 'connection', 'x-openstack-request-id'];
      if (fields.has(lower) && once.includes(lower)) return this.#fault(`${name} stands twice`);
      fields.set(lower, value);
    }
    return this.#begin({ method, target, fields, pieces: [], whole: false });
  }

  #begin(request: StrictRequest): boolean {
    const { fields } = request;
    if (!/^[\w.-]+(?::\d+)?$/.test(fields.get('host') ?? '')) return this.#fault('Host is no host');
    if (!/^(?:keep-alive|close)?$/.test(fields.get('connection') ?? '')) {
      return this.#fault(`Connection is ${fields.get('connection')}`);
    }
    const length = fields.get('content-length');
    const coding = fields.get('transfer-encoding');
    if (length !== undefined && coding !== undefined) return this.#fault('two framings');
    if (length !== undefined && !/^(?:0|[1-9]\d{0,15})$/.test(length))
      return this.#fault(`a length of ${length}`);
    if (coding !== undefined && coding !== 'chunked') return this.#fault(`a coding of ${coding}`);
    this.#request = request;
    this.#leftBytes = Number(length ?? 0);
    this.#chunked = coding === undefined ? 'no' : 'size';
    this.#events.head(request);
    return true;
  }

  #readBody(request: StrictRequest): boolean {
    switch (this.#chunked) {
      case 'no':
        this.#takeData(request);
        return this.#leftBytes === 0 && this.#finish(request);
      case 'data':
        this.#takeData(request);
        if (this.#leftBytes > 0) return false;
        this.#chunked = 'end';
        return true;
      case 'end':
        if (this.#rest.length < 2) return false;
        if (!this.#rest.subarray(0, 2).equals(Buffer.from('\r\n'))) return this.#fault('a chunk has no end');
        this.#rest = this.#rest.subarray(2);
        this.#chunked = 'size';
        return true;
      case 'size': {
        const end = this.#rest.indexOf('\r\n');
        if (end < 0) return this.#rest.length > 16 ? this.#fault('the size of a chunk has no end') : false;
        const size = this.#rest.subarray(0, end).toString('latin1');
        if (!/^(?:0|[1-9a-f][0-9a-f]{0,7})$/.test(size))
          return this.#fault(`a chunk of ${JSON.stringify(size)}`);
        this.#leftBytes = Number.parseInt(size, 16);
        if (this.#leftBytes > 0) {
          this.#rest = this.#rest.subarray(end + 2);
          this.#chunked = 'data';
          return true;
        }
        if (this.#rest.length < end + 4) return false;
        if (this.#rest.subarray(end + 2, end + 4).toString('latin1') !== '\r\n')
          return this.#fault('trailers');
        this.#rest = this.#rest.subarray(end + 4);
        return this.#finish(request);
      }
    }
  }

  #takeData({ pieces }: StrictRequest): void {
    const taken = this.#rest.subarray(0, this.#leftBytes);
    if (taken.length > 0) pieces.push(taken);
    this.#leftBytes -= taken.length;
    this.#rest = this.#rest.subarray(taken.length);
  }

  #finish(request: StrictRequest): boolean {
    request.whole = true;
    this.#request = null;
    this.#events.whole(request);
    return this.#rest.length > 0;
  }
}

const id = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}';
/** The requests that the gateway goes by, as they may be spelt. */
const canonical = new RegExp(
  `^(?:PUT /v2/images/${id}/(?:file|stage)|POST /v2/images/${id}/(?:import|locations)|(?:DELETE|PATCH) /v2/images/${id}|POST /v2/tasks)$`,
);
/** The same as a lax server may read them. */
const lookalike =
  /^(?:PUT v2(?:\.\d*)?\/images\/[^/]*\/(?:file|stage)|POST v2(?:\.\d*)?\/images\/[^/]*\/(?:import|locations)|(?:DELETE|PATCH) v2(?:\.\d*)?\/images\/[^/]*|POST v2(?:\.\d*)?\/tasks)$/;

/** What is wrong with a target; null where nothing is. */
function targetFault(method: string, target: string): string | null {
  const [path = '', ...queries] = target.split('?');
  if (path.includes('//') || /\/\.{1,2}(?:[/;]|$)/.test(path)) return 'an ambiguous path';
  if (!/^\/(?:[\w\-.~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*$/.test(path)) return 'not a path';
  if (/#/.test(target)) return 'a fragment';
  let query = queries.join('?').replaceAll('+', ' ');
  for (let i = 0; i < 4; i += 1) {
    if (query.toLowerCase().includes('_method')) return 'a method in the query';
    query = decoded(query);
  }
  let lax = path;
  for (let i = 0; i < 4; i += 1) lax = decoded(lax);
  lax = lax
    .normalize('NFKC')
    .toLowerCase()
    .split(/[/\\]/)
    .map((segment) => segment.replace(/;.*$/s, '').trim())
    .filter((segment) => segment !== '' && segment !== '.')
    .join('/');
  if (lookalike.test(`${method} ${lax}`) && !canonical.test(`${method} ${path}`)) {
    return 'another spelling of a route';
  }
  return null;
}

function decoded(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
