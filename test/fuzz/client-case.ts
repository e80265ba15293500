import { createHash } from 'node:crypto';
import { Random } from './random.ts';

/** A request of a case before it is written out. */
interface Draft {
  method: string;
  target: string;
  version: string;
  /** Whole lines, without their ends. */
  fields: string[];
  /** As on the wire, framing included. */
  body: Buffer;
  lineEnd: string;
}

export interface SentRequest {
  /** Of the draft, before its mutations. */
  readonly method: string;
  /** Travels in `X-Fuzz-Case` and comes back in `X-Fuzz-Answer`. */
  readonly token: string;
  /** Without the framing. */
  readonly payload: Buffer;
  readonly upload: boolean;
}

export type Farewell = 'wait' | 'fin' | 'reset';

/** What one client does on one connection. */
export interface ClientCase {
  readonly number: number;
  readonly requests: readonly SentRequest[];
  /** The bytes in the pieces in which they are written. */
  readonly pieces: readonly Buffer[];
  /** After the pieces: waits for answers, ends its side and waits, or resets. */
  readonly farewell: Farewell;
  /** Waits for something to arrive after the first piece. */
  readonly waitsForContinue: boolean;
  /** Where it connects from: one address for each case, by which the upstream knows whose a request is. */
  readonly address: string;
  /** Every request is one that any server would take, and the client stays to the end. */
  readonly clean: boolean;
  /** Names of the mutations, for people. */
  readonly mutations: readonly string[];
}

/** Not to be guessed by a mutation: one flipped digit is nobody's token. */
export function tokenOf(seed: number, caseNumber: number, request: number): string {
  const name = `${caseNumber}.${request}`;
  return `${name}-${createHash('md5').update(`${seed}/${name}`).digest('hex').slice(0, 8)}`;
}

/** Of the loopback network, which on Linux has 16 million. */
function addressOf(caseNumber: number): string {
  const high = 1 + ((caseNumber >>> 16) % 250);
  return `127.${high}.${(caseNumber >>> 8) & 255}.${caseNumber & 255}`;
}

export function clientCase(seed: number, number: number): ClientCase {
  const random = new Random(seed, number);
  const pipelined = random.chance(0.15) ? 2 + random.below(4) : 1;
  const mutations: string[] = [];
  const requests: SentRequest[] = [];
  const wires: Buffer[] = [];
  const mutable = random.chance(0.55);
  let waitsForContinue = false;
  for (let i = 0; i < pipelined; i += 1) {
    const { draft, request } = newRequest(random, tokenOf(seed, number, i));
    // what comes in one go with a request for an upgrade is thrown away by Node's parser
    if (i === pipelined - 1 && random.chance(0.02)) draft.fields.push(...upgrade);
    else if (random.chance(0.15)) draft.fields.push(...random.pick(ofTheHop));
    if (mutable && (i === pipelined - 1 || random.chance(0.3))) {
      for (let count = 1 + random.below(2); count > 0; count -= 1) {
        const [name, mutate] = random.pick(requestMutations);
        mutations.push(name);
        mutate(draft, random);
      }
    } else if (pipelined === 1 && request.payload.length > 0 && random.chance(0.1)) {
      draft.fields.push('Expect: 100-continue');
      waitsForContinue = random.chance(0.5);
    }
    requests.push(request);
    wires.push(written(draft));
  }
  let wire: Buffer = Buffer.concat(wires);
  const headBytes = wire.indexOf('\r\n\r\n') + 4;
  if (mutable && random.chance(0.25)) {
    const [name, mutate] = random.pick(wireMutations);
    mutations.push(name);
    wire = mutate(wire, random);
  }
  let farewell: Farewell = 'wait';
  let cut = false;
  if (random.chance(0.2)) {
    farewell = random.pick(['fin', 'reset']);
    cut = farewell === 'reset' || random.chance(0.6);
    if (random.chance(0.7)) wire = wire.subarray(0, random.below(wire.length + 1));
    mutations.push(`${farewell} after ${wire.length} bytes`);
    cut = true;
  } else if (random.chance(0.02)) {
    wire = wire.subarray(0, random.below(wire.length));
    cut = true;
    mutations.push(`silence after ${wire.length} bytes`);
  }
  const pieces = waitsForContinue
    ? [wire.subarray(0, headBytes), wire.subarray(headBytes)]
    : random.chance(0.5)
      ? [wire]
      : random.cut(wire, 2 + random.below(6));
  const clean = mutations.length === 0 && !cut;
  return {
    number,
    address: addressOf(number),
    requests,
    pieces,
    farewell,
    waitsForContinue,
    clean,
    mutations,
  };
}

const identity = ['X-User-Id: ann', 'X-Project-Id: blue', 'X-Auth-Token: gAAAAAfuzz'];

function newRequest(random: Random, token: string): { draft: Draft; request: SentRequest } {
  const image = `${random.hex(8)}-${random.hex(4)}-4${random.hex(3)}-a${random.hex(3)}-${random.hex(12)}`;
  const draft: Draft = {
    method: 'GET',
    target: '/v2/images',
    version: 'HTTP/1.1',
    fields: ['Host: images.example', `X-Fuzz-Case: ${token}`, ...identity, 'Accept: */*'],
    body: Buffer.alloc(0),
    lineEnd: '\r\n',
  };
  let payload: Buffer = Buffer.alloc(0);
  const kind = random.below(14);
  if (kind <= 4) {
    draft.method = 'PUT';
    draft.target = `/v2/images/${image}/${random.chance(0.8) ? 'file' : 'stage'}`;
    draft.fields.push('Content-Type: application/octet-stream');
    payload = random.letters(random.chance(0.1) ? random.below(300_000) : random.below(3_000));
    frame(draft, payload, random, random.pick(['length', 'chunked', 'chunked', 'sized']));
  } else if (kind <= 8) {
    const [method, target, text] = random.pick(withJson(image));
    draft.method = method;
    draft.target = target;
    draft.fields.push(
      `Content-Type: application/${method === 'PATCH' ? 'openstack-images-v2.1-json-patch' : 'json'}`,
    );
    payload = Buffer.from(text);
    frame(draft, payload, random, random.pick(['length', 'chunked']));
  } else {
    const [method, target] = random.pick(withoutBody(image));
    draft.method = method;
    draft.target = target;
  }
  return { draft, request: { method: draft.method, token, payload, upload: kind <= 4 } };
}

const withJson = (image: string): readonly (readonly [string, string, string])[] => [
  ['POST', '/v2/images', '{"disk_format":"raw","container_format":"bare","name":"fuzz"}'],
  ['POST', `/v2/images/${image}/import`, '{"method":{"name":"glance-direct"}}'],
  ['POST', `/v2/images/${image}/import`, '{"method":{"name":"web-download","uri":"http://example/x"}}'],
  ['PATCH', `/v2/images/${image}`, '[{"op":"replace","path":"/name","value":"fuzz"}]'],
  ['POST', '/v2/metadefs/namespaces', '{"namespace":"fuzz"}'],
];

const withoutBody = (image: string): readonly (readonly [string, string])[] => [
  ['GET', `/v2/images/${image}/file`],
  ['GET', `/v2/images/${image}`],
  ['GET', '/v2/images?limit=20&marker=x%20y'],
  ['GET', '/'],
  ['GET', '/unlisted/path'],
  ['HEAD', `/v2/images/${image}/file`],
  ['DELETE', `/v2/images/${image}`],
  ['DELETE', `/v2/images/${image}/tags/fuzz`],
];

function frame(draft: Draft, payload: Buffer, random: Random, framing: string): void {
  if (framing === 'length') {
    draft.fields.push(`Content-Length: ${payload.length}`);
    draft.body = payload;
    return;
  }
  draft.fields.push('Transfer-Encoding: chunked');
  if (framing === 'sized') draft.fields.push(`X-Openstack-Image-Size: ${payload.length}`);
  const chunks = payload.length === 0 ? [] : random.cut(payload, 1 + random.below(4));
  draft.body = Buffer.concat([
    ...chunks.flatMap((chunk) => [
      Buffer.from(`${chunk.length.toString(16)}\r\n`),
      chunk,
      Buffer.from('\r\n'),
    ]),
    Buffer.from('0\r\n\r\n'),
  ]);
}

function written({ method, target, version, fields, body, lineEnd }: Draft): Buffer {
  const head = [`${method} ${target} ${version}`.trim(), ...fields, '', ''].join(lineEnd);
  return Buffer.concat([Buffer.from(head, 'latin1'), body]);
}

const upgrade = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk'];

/** Any client may send these, and no server behind the gateway may see them. */
const ofTheHop: readonly (readonly string[])[] = [
  ['TE: trailers'],
  ['Connection: TE', 'TE: trailers, gzip'],
  ['Keep-Alive: timeout=5'],
  ['Proxy-Connection: keep-alive'],
  ['Proxy-Authorization: Basic Zm9vOmJhcg=='],
  ['Trailer: X-Sum'],
  ['Connection: keep-alive, X-Fuzz-Hop', 'X-Fuzz-Hop: 1'],
  ['connection: x-fuzz-hop', 'X-FUZZ-HOP: 1', 'x-fuzz-hop: 2'],
  ['HTTP2-Settings: AAMAAABk'],
  ['X_Fuzz_Case: under_scores'],
  ['X-Auth_Token: eve'],
];

type RequestMutation = readonly [string, (draft: Draft, random: Random) => void];

const field =
  (...lines: readonly string[]): RequestMutation[1] =>
  (draft, random) => {
    draft.fields.splice(random.below(draft.fields.length + 1), 0, random.pick(lines));
  };

/** Changes the line of a field that the request may have; adds one where it has none. */
const reField =
  (name: string, ...lines: readonly string[]): RequestMutation[1] =>
  (draft, random) => {
    const at = draft.fields.findIndex((line) => line.toLowerCase().startsWith(`${name}:`));
    draft.fields.splice(at === -1 ? draft.fields.length : at, at === -1 ? 0 : 1, random.pick(lines));
  };

const inBody =
  (change: (body: string, random: Random) => string): RequestMutation[1] =>
  (draft, random) => {
    draft.body = Buffer.from(change(draft.body.toString('latin1'), random), 'latin1');
  };

/** A second request where a lax server may find one. */
const smuggled = 'DELETE /v2/images/00000000-0000-4000-8000-000000000000 HTTP/1.1\r\nHost: smuggled\r\n\r\n';

const requestMutations: readonly RequestMutation[] = [
  [
    'method',
    (draft, random) => {
      const odd = [
        'put',
        'TRACE',
        'OPTIONS',
        'CONNECT',
        'PRI',
        'PROPFIND',
        'G\0T',
        'GE T',
        '',
        'X'.repeat(300),
        'HEAD',
        'DELETE',
        'LINK',
        'QUERY',
      ];
      draft.method = random.pick(odd);
    },
  ],
  [
    'target',
    (draft, random) => {
      const { target } = draft;
      const odd = [
        `http://images.example${target}`,
        'images.example:80',
        '*',
        `//${target}`,
        `${target}/`,
        target.toUpperCase(),
        target.replace('v2', 'v2.5'),
        target.replace('v2', 'v02'),
        target.replace('images', '%69mages'),
        target.replace('/file', '%2Ffile'),
        target.replace('/file', '/./file'),
        target.replace('/file', '/x/../file'),
        target.replace('/file', '/file;x'),
        `${target}?_method=DELETE`,
        `${target}?%5fmethod=PUT`,
        `${target}#x`,
        `${target}\0`,
        `${target}\x7f`,
        `${target}\xe9`,
        `${target} `,
        ` ${target}`,
        `${target}%0d%0aX:%20y`,
        `${target}\tx`,
        '',
        `/${'a'.repeat(70_000)}`,
        target.replaceAll('/', '\\'),
        `${target}?${'q'.repeat(9_000)}`,
        `${target}%`,
        `${target}%zz`,
        target.replace('/file', '/%66ile'),
        target.replace('images', 'ｉmages'),
        `${target}?a b`,
      ];
      draft.target = random.pick(odd);
    },
  ],
  [
    'version',
    (draft, random) => {
      const odd = [
        'HTTP/1.0',
        'HTTP/0.9',
        'HTTP/2.0',
        'HTTP/1.2',
        'HTTP/1.10',
        'http/1.1',
        'HTTP/1.1 ',
        'HTTP/11',
        'HTTP',
        '',
        'HTTP/1.1 x',
        'RTSP/1.0',
      ];
      draft.version = random.pick(odd);
    },
  ],
  [
    'two framings',
    (draft) => {
      const chunked = draft.fields.some((line) => line.startsWith('Transfer-Encoding'));
      draft.fields.push(chunked ? `Content-Length: ${draft.body.length}` : 'Transfer-Encoding: chunked');
    },
  ],
  ['length twice', field('Content-Length: 5', 'Content-Length: 0', 'content-length: 99999')],
  [
    'odd length',
    reField(
      'content-length',
      'Content-Length: +5',
      'Content-Length: 5, 5',
      'Content-Length: 0x5',
      'Content-Length:',
      'Content-Length: -1',
      'Content-Length: 9007199254740992',
      'Content-Length: 18446744073709551616',
      'Content-Length: 5 5',
      'Content-Length: 05',
      'Content-Length: 1e2',
      'Content-Length : 5',
      'Content_Length: 5',
      'Content-Length: 5\x0b',
      'Content-Length: 5;x',
    ),
  ],
  ['longer length', reField('content-length', 'Content-Length: 100000', 'Content-Length: 3000')],
  ['shorter length', reField('content-length', 'Content-Length: 0', 'Content-Length: 1')],
  [
    'odd coding',
    reField(
      'transfer-encoding',
      'Transfer-Encoding: gzip, chunked',
      'Transfer-Encoding: chunked, chunked',
      'Transfer-Encoding: xchunked',
      'Transfer-Encoding:  chunked',
      'Transfer-Encoding: chunked ',
      'Transfer-Encoding : chunked',
      'Transfer-Encoding: identity',
      'Transfer-Encoding: chunked;q=1',
      'Transfer-Encoding:\x0bchunked',
      'Transfer-Encoding: "chunked"',
      'Transfer-Encoding:',
      'Transfer-Encoding: Chunked',
      'Transfer_Encoding: chunked',
      'Transfer-Encoding: chunked, identity',
      'Transfer-Encoding: gzip',
      'Transfer-Encoding: ,chunked',
      'Transfer-Encoding: chunked,',
    ),
  ],
  ['coding twice', field('Transfer-Encoding: chunked', 'Transfer-Encoding: gzip')],
  [
    'odd size',
    reField(
      'x-openstack-image-size',
      'X-Openstack-Image-Size: 0',
      'X-Openstack-Image-Size: 7',
      'X-Openstack-Image-Size: -1',
      'X-Openstack-Image-Size: 1e3',
      'X-Openstack-Image-Size:',
      'X_Openstack_Image_Size: 3',
      'X-Openstack-Image-Size: 9007199254740993',
    ),
  ],
  [
    'odd field',
    field(
      ' folded: x',
      '\tfolded',
      'No colon',
      ': no name',
      'Space : x',
      'X: a\0b',
      'X: a\rb',
      'X: a\nY: b',
      'X: \x01',
      'X\0: y',
      'X: \x7f',
      'X:',
      'X(: y',
      '"X": y',
      'X: \xff\xfe',
      '',
      'X: a\r\r',
      'X Y: z',
    ),
  ],
  [
    'field of the hop',
    field(
      'Connection: X-Auth-Token',
      'Connection: Host',
      'Connection: close',
      'Connection: Content-Length',
      'Connection: upgrade',
      'Keep-Alive: timeout=5',
      'TE: trailers',
      'Trailer: X-Auth-Token',
      'Proxy-Connection: keep-alive',
      'Proxy-Authorization: x',
      'Upgrade: h2c',
      'HTTP2-Settings: AAMAAABk',
      'Connection: keep-alive, X-Fuzz-Case',
      'Connection: \x0b',
    ),
  ],
  [
    'upgrade',
    (draft, random) => {
      draft.fields.push(
        'Connection: Upgrade',
        `Upgrade: ${random.pick(['h2c', 'websocket', 'TLS/1.0', ''])}`,
      );
    },
  ],
  [
    'host',
    reField(
      'host',
      'Host:',
      'Host: a b',
      'Host: a,b',
      'Host: evil@images',
      'Host: [::1',
      'X-None: x',
      'Host: images:99999999',
      'Host: \0',
      'Host: images/',
      'Host : images',
      'host: images',
    ),
  ],
  ['two hosts', field('Host: other.example', 'Host: images.example', 'host:other')],
  [
    'expect',
    field(
      'Expect: 100-continue',
      'Expect: 200-ok',
      'Expect: 100-continue, x',
      'Expect:',
      'Expect: 100-Continue',
      'Expect: \x01',
    ),
  ],
  [
    'many fields',
    (draft, random) => {
      const count = random.pick([150, 190, 193, 250, 1_900, 2_100]);
      for (let i = 0; i < count; i += 1) draft.fields.push(`X-Many-${i}: ${i}`);
      if (random.chance(0.5)) draft.fields.push('Content-Length: 3');
    },
  ],
  [
    'long field',
    (draft, random) => {
      draft.fields.push(
        `X-Long: ${'l'.repeat(random.pick([8_000, 20_000, 64_000, 65_300, 66_000, 200_000]))}`,
      );
    },
  ],
  [
    'identity twice',
    field(
      'X-Project-Id: red',
      'X-User-Id: eve',
      'X_Project_Id: red',
      'X-Auth-Token: other',
      'X-Roles: admin',
      'X-Service-Token: x',
    ),
  ],
  [
    'forwarded',
    field(
      'X-Forwarded-For: 1.2.3.4, bad',
      'Forwarded: for="[::1',
      'X-Forwarded-Proto: gopher',
      'X-Real-IP: 9.9.9.9',
      'X-Openstack-Request-Id: bad id',
      'X-Http-Method-Override: DELETE',
      'Via: 1.1 x',
      'traceparent: 00-bad',
    ),
  ],
  [
    'version in Accept',
    reField(
      'accept',
      'Accept: application/vnd.openstack.images-v2.5',
      'Accept: \x02',
      'Accept: a, application/vnd.openstack.images-v2',
    ),
  ],
  [
    'line ends',
    (draft, random) => {
      draft.lineEnd = random.pick(['\n', '\r', '\r\r\n', '\n\r', '\r\n ', '\0\r\n']);
    },
  ],
  [
    'leading lines',
    (draft, random) => {
      draft.method = `${random.pick(['\r\n', '\r\n\r\n', '\n', ' ', '\0', '\r', '\t'])}${draft.method}`;
    },
  ],
  [
    'size of a chunk',
    inBody((body, random) =>
      body.replace(/^[0-9a-f]+/, (size) =>
        random.pick([
          `+${size}`,
          `-${size}`,
          `0x${size}`,
          ` ${size}`,
          `${size} `,
          `${size}g`,
          '',
          `0000000000000000000${size}`,
          '20000000000000',
          'fffffffffffffffff',
          'ffffffff',
          `${size};${'x'.repeat(20_000)}`,
          `${size};a="b`,
          `${size};a=b`,
          `${size}\r`,
          `${size}\n`,
          `${size};\0`,
          `${size};\n`,
          size.toUpperCase(),
          `0${size}`,
        ]),
      ),
    ),
  ],
  [
    'end of a chunk',
    inBody((body, random) =>
      body.replace(
        /([a-z])\r\n/,
        (_, last: string) => `${last}${random.pick(['', '\n', '\r', 'XX', '\r\n\r\n', ' \r\n', '\0\r\n'])}`,
      ),
    ),
  ],
  [
    'trailers',
    inBody((body, random) =>
      body.replace(
        /0\r\n\r\n$/,
        `0\r\n${random.pick(['X-Trailer: x', 'Content-Length: 5', 'Transfer-Encoding: chunked', 'X-Project-Id: red', 'Host: evil', 'bad', ': x', ' x', 'X: \0', `X: ${'t'.repeat(70_000)}`])}\r\n\r\n`,
      ),
    ),
  ],
  ['no last chunk', inBody((body) => body.replace(/0\r\n\r\n$/, ''))],
  [
    'last chunk',
    inBody((body, random) =>
      body.replace(
        /0\r\n\r\n$/,
        random.pick(['0\r\n', '0\n\n', '00\r\n\r\n', '0;x\r\n\r\n', '0\r\n\r', '-0\r\n\r\n']),
      ),
    ),
  ],
  [
    'more body',
    inBody(
      (body, random) => body + random.pick(['x', '\r\n', smuggled, '0\r\n\r\n', 'GET / HTTP/1.1\r\n', '\0']),
    ),
  ],
  ['a request in the body', inBody(() => smuggled)],
  ['less body', inBody((body, random) => body.slice(0, random.below(body.length + 1)))],
  [
    'odd JSON',
    inBody((body, random) =>
      random.pick([
        body.replace('{', '{"method":1,'),
        '{',
        '[]',
        'null',
        '\ufeff{}',
        '{"a":1,"a":2}',
        `${'['.repeat(5_000)}`,
        '{"x":"\\ud800"}',
        '1e999',
      ]),
    ),
  ],
  [
    'a body that nobody announced',
    (draft) => {
      draft.body = Buffer.from(smuggled);
    },
  ],
];

type WireMutation = readonly [string, (wire: Buffer, random: Random) => Buffer];

const wireMutations: readonly WireMutation[] = [
  [
    'flipped bits',
    (wire, random) => {
      const changed = Buffer.from(wire);
      for (let count = 1 + random.below(3); count > 0; count -= 1) {
        const at = random.below(Math.min(changed.length, 600));
        changed[at] = (changed[at] ?? 0) ^ (1 << random.below(8));
      }
      return changed;
    },
  ],
  [
    'bytes put in',
    (wire, random) => {
      const at = random.below(Math.min(wire.length, 600));
      const put = random.pick([
        '\0',
        '\r',
        '\n',
        '\r\n',
        '\r\n\r\n',
        ' ',
        ':',
        '\t',
        '\x80',
        '%',
        ';',
        ',',
        '0\r\n\r\n',
      ]);
      return Buffer.concat([wire.subarray(0, at), Buffer.from(put, 'latin1'), wire.subarray(at)]);
    },
  ],
  [
    'bytes left out',
    (wire, random) => {
      const at = random.below(Math.min(wire.length, 600));
      return Buffer.concat([wire.subarray(0, at), wire.subarray(at + 1 + random.below(4))]);
    },
  ],
  [
    'a piece doubled',
    (wire, random) => {
      const at = random.below(wire.length);
      const piece = wire.subarray(at, at + random.below(200));
      return Buffer.concat([wire.subarray(0, at), piece, wire.subarray(at)]);
    },
  ],
  ['noise', (_, random) => Buffer.from(random.hex(2 + 2 * random.below(300)), 'hex')],
  ['TLS', () => Buffer.from('16030100c8010000c40303', 'hex')],
  ['the preface of HTTP/2', () => Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0')],
  ['a PROXY header', (wire) => Buffer.concat([Buffer.from('PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n'), wire])],
];
