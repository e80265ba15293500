import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { type Script, ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway } from '../support/test-gateway.ts';

const image = 'f0f1f2f3-0000-4000-8000-000000000001';
const target = `/v2/images/${image}/file`;
const who = 'X-User-Id: ann\r\nX-Project-Id: blue\r\n';
const maxHeaders = 200;
const mostHeadBytes = 64 * 1024;

/** A request as it is on the wire; the fields are whole lines. */
const wire = (line: string, fields: readonly string[], body = '', host = 'Host: images\r\n'): string =>
  `${line}\r\n${host}${who}${fields.map((field) => `${field}\r\n`).join('')}\r\n${body}`;
const get = (...fields: readonly string[]): string => wire(`GET ${target} HTTP/1.1`, fields);
const put = (fields: readonly string[], body = ''): string => wire(`PUT ${target} HTTP/1.1`, fields, body);
const chunked = (body: string): string => put(['Transfer-Encoding: chunked'], body);
/** `put` with so many fields in all. */
const withFields = (count: number): string =>
  put([...Array.from({ length: count - 4 }, (_, i) => `X-${i}: x`), 'Content-Length: 3'], 'abc');
/** A GET whose head is so long, the empty line included. */
const withHead = (bytes: number): string => {
  const rest = get('X-Long: ').length;
  return get(`X-Long: ${'l'.repeat(bytes - rest)}`);
};

type Row = readonly [what: string, bytes: string, status: number];

/** None of these reaches the upstream, and the connection ends with the answer. */
const refused: readonly Row[] = [
  [
    'Content-Length beside Transfer-Encoding',
    put(['Content-Length: 3', 'Transfer-Encoding: chunked'], '3\r\nabc\r\n0\r\n\r\n'),
    400,
  ],
  [
    'Transfer-Encoding beside Content-Length',
    put(['Transfer-Encoding: chunked', 'Content-Length: 3'], '3\r\nabc\r\n0\r\n\r\n'),
    400,
  ],
  ['two lengths', put(['Content-Length: 3', 'Content-Length: 4'], 'abcd'), 400],
  ['the same length twice', put(['Content-Length: 3', 'Content-Length: 3'], 'abc'), 400],
  ['a length with a sign', put(['Content-Length: +5'], 'abcde'), 400],
  ['a negative length', put(['Content-Length: -5'], 'abcde'), 400],
  ['a list of lengths', put(['Content-Length: 5, 5'], 'abcde'), 400],
  ['a length in hexadecimal', put(['Content-Length: 0x5'], 'abcde'), 400],
  ['an empty length', put(['Content-Length:'], ''), 400],
  ['a length with a space in it', put(['Content-Length: 5 5'], ''), 400],
  ['a length of 2^53', put([`Content-Length: ${2 ** 53}`]), 400],
  ['a length of 2^64', put(['Content-Length: 18446744073709551616']), 400],
  ['two codings', put(['Transfer-Encoding: gzip, chunked'], '0\r\n\r\n'), 501],
  ['chunked twice in one field', put(['Transfer-Encoding: chunked, chunked'], '0\r\n\r\n'), 400],
  [
    'chunked in two fields',
    put(['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'], '0\r\n\r\n'),
    400,
  ],
  ['a coding that is not the last', put(['Transfer-Encoding: chunked, identity']), 400],
  ['a coding that only looks like chunked', put(['Transfer-Encoding: xchunked']), 400],
  ['a coding after a vertical tab', put(['Transfer-Encoding: \x0bchunked']), 400],
  ['identity', put(['Transfer-Encoding: identity']), 400],
  ['an empty coding', put(['Transfer-Encoding:']), 400],
  ['a coding in HTTP/1.0', wire(`PUT ${target} HTTP/1.0`, ['Transfer-Encoding: chunked'], '0\r\n\r\n'), 400],
  ['the size of a chunk with a sign', chunked('+3\r\nabc\r\n0\r\n\r\n'), 400],
  ['the size of a chunk with a space before it', chunked(' 3\r\nabc\r\n0\r\n\r\n'), 400],
  ['the size of a chunk in another notation', chunked('0x3\r\nabc\r\n0\r\n\r\n'), 400],
  ['a chunk of 2^64 bytes', chunked('10000000000000000\r\nabc'), 400],
  ['a chunk without a size', chunked('\r\nabc\r\n0\r\n\r\n'), 400],
  ['a chunk longer than its size', chunked('3\r\nabcd\r\n0\r\n\r\n'), 400],
  ['a chunk that ends with a line feed alone', chunked('3\r\nabc\n0\r\n\r\n'), 400],
  ['the size of a chunk that ends with a line feed alone', chunked('3\nabc\r\n0\r\n\r\n'), 400],
  ['the size of a chunk that ends with a carriage return alone', chunked('3\rabc\r\n0\r\n\r\n'), 400],
  ['an extension of a chunk with a line feed in it', chunked('3;a\nb\r\nabc\r\n0\r\n\r\n'), 400],
  ['an extension of a chunk with a NUL in it', chunked('3;a=\0\r\nabc\r\n0\r\n\r\n'), 400],
  ['an extension of a chunk without end', chunked(`3;${'x'.repeat(20_000)}\r\nabc\r\n0\r\n\r\n`), 400],
  ['line feeds alone at the ends of lines', get().replaceAll('\r\n', '\n'), 400],
  ['a carriage return alone at the end of a line', get('X: a\rY: b'), 400],
  ['a line feed alone at the end of a line', get('X: a\nY: b'), 400],
  ['a NUL in a value', get('X: a\0b'), 400],
  ['a NUL in a name', get('X\0: b'), 400],
  ['a control character in a value', get('X: a\x01b'), 400],
  ['a DEL in a value', get('X: a\x7fb'), 400],
  ['a folded field', get('X: a', ' b'), 400],
  ['a folded field by a tab', get('X: a', '\tb'), 400],
  ['a first field that is folded', `GET ${target} HTTP/1.1\r\n Host: images\r\n\r\n`, 400],
  ['a space before the colon', get('X : a'), 400],
  ['a length with a space before its colon', put(['Content-Length : 3'], 'abc'), 400],
  ['an empty name', get(': a'), 400],
  ['a line without a colon', get('nothing'), 400],
  ['a name with a space in it', get('X Y: a'), 400],
  ['a name in brackets', get('(X): a'), 400],
  ['no Host', wire(`GET ${target} HTTP/1.1`, [], '', ''), 400],
  ['an empty Host', wire(`GET ${target} HTTP/1.1`, [], '', 'Host:\r\n'), 400],
  ['two Hosts', get('Host: images'), 400],
  ['Host with a user in it', wire(`GET ${target} HTTP/1.1`, [], '', 'Host: a@images\r\n'), 400],
  ['a list of Hosts', wire(`GET ${target} HTTP/1.1`, [], '', 'Host: a, b\r\n'), 400],
  ['the target in absolute-form', wire(`GET http://images${target} HTTP/1.1`, []), 400],
  ['the target in authority-form', wire('GET images:80 HTTP/1.1', []), 400],
  ['the target in asterisk-form', wire('OPTIONS * HTTP/1.1', []), 400],
  ['a target with two slashes first', wire(`GET /${target} HTTP/1.1`, []), 400],
  ['a fragment', wire(`GET ${target}#x HTTP/1.1`, []), 400],
  ['a target with a NUL in it', wire(`GET ${target}\0 HTTP/1.1`, []), 400],
  ['a target with letters beyond ASCII', wire(`GET ${target}\xe9 HTTP/1.1`, []), 400],
  ['a target with a space in it', wire(`GET ${target} x HTTP/1.1`, []), 400],
  ['no target', wire('GET  HTTP/1.1', []), 400],
  ['a method in lower case', wire(`get ${target} HTTP/1.1`, []), 400],
  ['a method that HTTP does not have', wire(`PUTT ${target} HTTP/1.1`, []), 400],
  ['CONNECT', wire('CONNECT images:443 HTTP/1.1', []), 400],
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
  ['a version of HTTP to come', wire(`GET ${target} HTTP/1.2`, []), 400],
  ['HTTP/2 in the request line', wire(`GET ${target} HTTP/2.0`, []), 400],
  ['a request without a version', `GET ${target}\r\n\r\n`, 400],
  ['a handshake of TLS', '\x16\x03\x01\0\xc8\x01\0\0\xc4\x03\x03', 400],
  ['a header of the PROXY protocol', `PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n${get()}`, 400],
  ['another expectation than 100-continue', put(['Expect: 200-ok', 'Content-Length: 3'], 'abc'), 417],
  ['Connection that names a field of the request', get('Connection: X-Auth-Token'), 400],
  ['a space after the size of a chunk', chunked('3 \r\nabc\r\n0\r\n\r\n'), 400],
  ['a trailer that is no field', chunked('3\r\nabc\r\n0\r\nX : 1\r\n\r\n'), 400],
  ['trailers without end', chunked(`3\r\nabc\r\n0\r\nX: ${'t'.repeat(70_000)}\r\n\r\n`), 400],
  [`${maxHeaders + 1} fields`, withFields(maxHeaders + 1), 431],
  ['more fields than Node shows', withFields(2_100), 431],
  [`a head of ${mostHeadBytes + 1024} bytes`, withHead(mostHeadBytes + 1024), 431],
];

/** These are taken, and become one plain request. */
const taken: readonly (readonly [what: string, bytes: string])[] = [
  [`${maxHeaders} fields`, withFields(maxHeaders)],
  [
    `a head of ${mostHeadBytes} bytes`,
    put([`X-Long: ${'l'.repeat(mostHeadBytes - 200)}`, 'Content-Length: 3'], 'abc'),
  ],
  ['white space around chunked', put(['Transfer-Encoding:   chunked  '], '3\r\nabc\r\n0\r\n\r\n')],
  ['chunked in other letters', put(['transfer-encoding: CHUNKED'], '3\r\nabc\r\n0\r\n\r\n')],
  ['an extension of a chunk', chunked('3;a="b"\r\nabc\r\n0\r\n\r\n')],
  [
    'trailers',
    put(
      ['Transfer-Encoding: chunked', 'Trailer: X-Sum'],
      '3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Project-Id: red\r\n\r\n',
    ),
  ],
  ['zeros before the size of a chunk', chunked(`${'0'.repeat(30)}3\r\nabc\r\n0\r\n\r\n`)],
  [
    'an upgrade to h2c',
    put(
      [
        'Connection: Upgrade, HTTP2-Settings',
        'Upgrade: h2c',
        'HTTP2-Settings: AAMAAABk',
        'Content-Length: 3',
      ],
      'abc',
    ),
  ],
  [
    'settings of HTTP/2 that Connection does not name',
    put(['HTTP2-Settings: AAMAAABk', 'Content-Length: 3'], 'abc'),
  ],
  [
    'fields of the hop',
    put(['TE: trailers', 'Keep-Alive: timeout=5', 'Proxy-Connection: close', 'Content-Length: 3'], 'abc'),
  ],
  ['letters beyond ASCII in a value', put(['X: \xe9', 'Content-Length: 3'], 'abc')],
  ['empty lines before the request', `\r\n\r\n${put(['Content-Length: 3'], 'abc')}`],
];
const ofTheHop = [
  'te',
  'trailer',
  'keep-alive',
  'proxy-connection',
  'upgrade',
  'http2-settings',
  'x-sum',
  'expect',
];

const type = 'Content-Type: text/plain\r\n';
const answer = (fields: readonly string[], body = '', line = 'HTTP/1.1 200 OK'): string =>
  `${line}\r\n${type}${fields.map((field) => `${field}\r\n`).join('')}\r\n${body}`;
const abc = ['Content-Length: 3'];
const inChunks = (body: string): string => answer(['Transfer-Encoding: chunked'], body);

/** The head says already that no client can read it: 502, for uploads and for all else. */
const unreadable: readonly (readonly [what: string, bytes: string])[] = [
  ['a status of two digits', answer(abc, 'abc', 'HTTP/1.1 20 OK')],
  ['a status of four digits', answer(abc, 'abc', 'HTTP/1.1 2000 OK')],
  ['the status 099', answer(abc, 'abc', 'HTTP/1.1 099 OK')],
  ['the status 600', answer(abc, 'abc', 'HTTP/1.1 600 OK')],
  ['another protocol', answer(abc, 'abc', 'ICY 200 OK')],
  ['HTTP/2 in the status line', answer(abc, 'abc', 'HTTP/2.0 200 OK')],
  ['a version of HTTP to come', answer(abc, 'abc', 'HTTP/3.1 200 OK')],
  ['HTTP/1.2', answer(abc, 'abc', 'HTTP/1.2 200 OK')],
  ['HTTP/0.9', answer(abc, 'abc', 'HTTP/0.9 200 OK')],
  ['a version of two digits', answer(abc, 'abc', 'HTTP/1.10 200 OK')],
  ['half a 100 Continue before it', `HTTP/1.1 100 Continue\nX: y\r\n\r\n${answer(abc, 'abc')}`],
  ['a 100 Continue of four digits before it', `HTTP/1.1 1000 Continue\r\n\r\n${answer(abc, 'abc')}`],
  ['a space before the status line', answer(abc, 'abc', ' HTTP/1.1 200 OK')],
  ['no head', 'abc'],
  ['two lengths', answer(['Content-Length: 3', 'Content-Length: 4'], 'abcd')],
  ['the same length twice', answer(['Content-Length: 3', 'Content-Length: 3'], 'abc')],
  ['a list of lengths', answer(['Content-Length: 3, 3'], 'abc')],
  [
    'a length beside a coding',
    answer(['Content-Length: 3', 'Transfer-Encoding: chunked'], '3\r\nabc\r\n0\r\n\r\n'),
  ],
  [
    'a coding beside a length',
    answer(['Transfer-Encoding: chunked', 'Content-Length: 3'], '3\r\nabc\r\n0\r\n\r\n'),
  ],
  ['a length with a sign', answer(['Content-Length: +3'], 'abc')],
  ['a length in hexadecimal', answer(['Content-Length: 0x3'], 'abc')],
  ['an empty length', answer(['Content-Length:'], 'abc')],
  ['a length of 2^64', answer(['Content-Length: 18446744073709551616'], 'abc')],
  ['a coding that is not undone', answer(['Transfer-Encoding: gzip'], 'abc')],
  ['a coding below chunked', answer(['Transfer-Encoding: gzip, chunked'], '3\r\nabc\r\n0\r\n\r\n')],
  [
    'chunked that is not the last coding',
    answer(['Transfer-Encoding: chunked, identity'], '3\r\nabc\r\n0\r\n\r\n'),
  ],
  ['a coding that only looks like chunked', answer(['Transfer-Encoding: xchunked'], '3\r\nabc\r\n0\r\n\r\n')],
  [
    'chunked in two fields',
    answer(['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'], '3\r\nabc\r\n0\r\n\r\n'),
  ],
  ['a NUL in a value', answer(['X: a\0b', ...abc], 'abc')],
  ['a control character in a value', answer(['X: a\x01b', ...abc], 'abc')],
  ['a folded field', answer(['X: a', ' b', ...abc], 'abc')],
  ['a space before a colon', answer(['Content-Length : 3'], 'abc')],
  ['a line without a colon', answer(['nothing', ...abc], 'abc')],
  ['a carriage return alone', answer(['X: a\rY: b', ...abc], 'abc')],
  ['a line feed alone', answer(['X: a\nY: b', ...abc], 'abc')],
  ['line feeds alone at the ends of lines', answer(abc, 'abc').replaceAll('\r\n', '\n')],
  ['a head of 70,000 bytes', answer([`X: ${'l'.repeat(70_000)}`, ...abc], 'abc')],
  [
    'a change of the protocol that nobody asked for',
    'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nnoise',
  ],
];

/** The head is good and the body is not: 502 for uploads, whose answers are held whole, else a cut connection. */
const cutShort: readonly (readonly [what: string, bytes: string, end: 'fin' | 'reset'])[] = [
  ['fewer bytes than the length, then an end', answer(['Content-Length: 5'], 'abc'), 'fin'],
  ['fewer bytes than the length, then a reset', answer(['Content-Length: 5'], 'abc'), 'reset'],
  ['no last chunk', inChunks('3\r\nabc\r\n'), 'fin'],
  ['half of a last chunk', inChunks('3\r\nabc\r\n0\r\n'), 'fin'],
  ['the size of a chunk with a sign', inChunks('3\r\nabc\r\n+3\r\nabc\r\n0\r\n\r\n'), 'fin'],
  ['the size of a chunk with a space after it', inChunks('3\r\nabc\r\n3 \r\nabc\r\n0\r\n\r\n'), 'fin'],
  [
    'the size of a chunk that ends with a line feed alone',
    inChunks('3\r\nabc\r\n3\nabc\r\n0\r\n\r\n'),
    'fin',
  ],
  ['a chunk longer than its size', inChunks('3\r\nabcd\r\n0\r\n\r\n'), 'fin'],
  ['a chunk of 2^64 bytes', inChunks('3\r\nabc\r\n10000000000000000\r\nabc'), 'fin'],
  ['a body until the end of the connection, which is reset', answer([], 'abc'), 'reset'],
];

const stores: Script = async (connection) => {
  await connection.bodyComplete();
  connection.answer('204 No Content');
};

/** Gateway and upstream share this event loop: after some turns everything that was written is read. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i += 1) await turn();
}

describe('strict HTTP', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;

  beforeEach(async () => {
    upstream = await ScriptedUpstream.start(stores);
    sluice = await TestGateway.start(upstream.port, { quota: { usage: { source: 'none' } } });
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  describe('from a client is demanded', () => {
    for (const [what, bytes, status] of refused) {
      it(`${what} is ${status} and a closed connection, and nothing goes upstream`, async () => {
        const client = await sluice.client();
        // what follows would be a second request to whoever believes in another end of the first
        await client.write(Buffer.from(bytes + get('X-Second: 1'), 'latin1'));
        const { status: told, body, headers } = await client.response();
        assert.equal(told, status);
        assert.equal(Object(JSON.parse(body.toString())).status, status, 'the problem says so too');
        assert.deepEqual(headers.get('connection'), ['close']);
        client.end();
        await client.closed;
        assert.equal(client.unread.length, 0, 'nothing else is answered');
        assert.equal(upstream.connections.length, 0, 'nothing reached the upstream');
        assert.equal(sluice.gateway.savingBytes, 0);
      });
    }

    for (const [what, bytes] of taken) {
      it(`${what} becomes one plain request`, async () => {
        const client = await sluice.client();
        await client.write(Buffer.from(bytes, 'latin1'));
        assert.equal((await client.response()).status, 204);
        const [connection, ...others] = upstream.connections;
        assert.equal(others.length, 0);
        const { head = '', body = Buffer.alloc(0) } = connection ?? {};
        const names = head
          .split('\r\n')
          .slice(1)
          .map((line) => line.split(':')[0]?.toLowerCase() ?? '');
        assert.deepEqual(
          names.filter((name) => ofTheHop.includes(name)),
          [],
        );
        assert.equal(names.filter((name) => /^(?:content-length|transfer-encoding)$/.test(name)).length, 1);
        assert.equal(connection?.header('x-project-id'), 'blue', 'a trailer changes nothing');
        const framed = names.includes('content-length') ? 'abc' : '3\r\nabc\r\n0\r\n\r\n';
        assert.equal(body.toString(), framed);
      });
    }
  });

  describe('from the upstream is demanded', () => {
    const requests = [
      ['an upload', put(['Content-Length: 3'], 'abc')],
      ['a GET', get()],
    ] as const;
    for (const [what, bytes] of unreadable) {
      for (const [kind, request] of requests) {
        it(`${what} is 502 for ${kind}`, async () => {
          upstream.script = async (connection) => {
            await connection.bodyComplete();
            connection.write(bytes);
            await turns();
            connection.end();
          };
          const client = await sluice.client();
          await client.write(request);
          const { status, body } = await client.response();
          assert.equal(status, 502, body.toString());
          assert.match(String(Object(JSON.parse(body.toString())).code), /^upstream-(?:invalid|lost)$/);
        });
      }
    }

    for (const [what, bytes, end] of cutShort) {
      const script: Script = async (connection) => {
        await connection.bodyComplete();
        connection.write(bytes);
        await turns();
        if (end === 'fin') connection.end();
        else connection.reset();
      };

      it(`${what} is 502 for an upload`, async () => {
        upstream.script = script;
        const client = await sluice.client();
        await client.write(put(['Content-Length: 3'], 'abc'));
        assert.equal((await client.response()).status, 502);
      });

      it(`${what} is a broken connection for a GET`, async () => {
        upstream.script = script;
        const client = await sluice.client();
        await client.write(get());
        await assert.rejects(client.response(), /the connection ended/);
      });
    }

    // the others are found together with the data before them, and libuv tells a reset then as an end
    for (const [what, bytes, end] of cutShort.filter(([name]) =>
      /^(?:fewer|no last|half|a body)/.test(name),
    )) {
      it(`${what} is a reset for a GET of HTTP/1.0, whose answers have no other end`, async () => {
        upstream.script = async (connection) => {
          connection.write(bytes);
          await turns();
          if (end === 'fin') connection.end();
          else connection.reset();
        };
        const client = await sluice.client();
        await client.write(wire(`GET ${target} HTTP/1.0`, []));
        assert.equal(await client.closed, 'reset', client.unread.toString());
      });
    }

    const unasked = {
      'a whole answer': 'HTTP/1.1 200 Unasked\r\nContent-Length: 3\r\n\r\nbad',
      'an end of the wait': 'HTTP/1.1 408 Unasked\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
      'an interim answer': 'HTTP/1.1 100 Continue\r\n\r\n',
      noise: 'x',
    };
    for (const [what, bytes] of Object.entries(unasked)) {
      for (const when of ['together with the answer', 'while the connection is idle'] as const) {
        it(`${what} that nobody asked for, ${when}, is thrown away with its connection`, async () => {
          const asked: UpstreamConnection[] = [];
          upstream.script = (connection) => {
            asked.push(connection);
            const good = `HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n${asked.length}`;
            connection.write(when === 'together with the answer' && asked.length === 1 ? good + bytes : good);
          };
          const client = await sluice.client();
          await client.write(get());
          assert.equal((await client.response()).body.toString(), '1');
          if (when === 'while the connection is idle') asked[0]?.write(bytes);
          await asked[0]?.closed;
          await client.write(get());
          assert.equal((await client.response()).body.toString(), '2');
          assert.equal(asked.length, 2, 'over another connection');
        });
      }
    }
  });

  describe('is borne with, as HTTP demands:', () => {
    for (const [kind, request] of [
      ['an upload', put(['Content-Length: 3'], 'abc')],
      ['a GET', get()],
    ] as const) {
      for (const [what, interim] of [
        ['a 100 Continue', 'HTTP/1.1 100 Continue\r\n\r\n'],
        [
          'many interim answers',
          'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX: y\r\n\r\n'.repeat(100),
        ],
      ] as const) {
        it(`${what} that nobody asked for, before the answer to ${kind}`, async () => {
          upstream.script = async (connection) => {
            await connection.bodyComplete();
            const bytes = interim + answer(abc, 'abc');
            connection.write(bytes.slice(0, 20));
            await turns();
            connection.write(bytes.slice(20));
          };
          const client = await sluice.client();
          await client.write(request);
          const { status, body, informational } = await client.response();
          assert.equal(status, 200, body.toString());
          assert.equal(body.toString(), 'abc');
          assert.deepEqual(informational, []);
        });
      }
    }

    it('a chunk of 2^53 bytes, which is sent on as what really comes of it and never looks whole', async () => {
      const client = await sluice.client();
      await client.write(chunked(`${(2 ** 53).toString(16)}\r\nabc`));
      while (upstream.connections.length === 0) await turn();
      const [connection] = upstream.connections;
      await connection?.received(3);
      client.end();
      const { status, body } = await client.response();
      assert.equal(status, 400);
      assert.equal(Object(JSON.parse(body.toString())).code, 'client-gone');
      assert.equal(await connection?.closed, 'reset');
      assert.equal(connection?.body.toString(), '3\r\nabc\r\n');
      assert.equal(sluice.gateway.savingBytes, 0);
    });
  });

  for (const [what, ending] of [
    ['what could be read in two ways', put(['Host: other', 'Content-Length: 3'], 'abc')],
    ['a request that says close', get('Connection: close')],
  ] as const) {
    it(`carries out nothing that comes behind ${what}, also where all came in one go`, async () => {
      upstream.script = async (connection) => {
        // the others have come by then
        await turns();
        connection.write(answer(['Connection: close', 'Content-Length: 0'], '', 'HTTP/1.1 200 OK'));
      };
      const client = await sluice.client();
      await client.write(get() + ending + wire(`DELETE /v2/images/${image} HTTP/1.1`, []));
      assert.equal((await client.response()).status, 200);
      const { headers } = await client.response();
      assert.deepEqual(headers.get('connection'), ['close']);
      await client.closed;
      await turns();
      assert.equal(client.unread.length, 0, 'nothing else is answered');
      const methods = upstream.connections.map(({ head }) => head.split(' ')[0]);
      assert.equal(methods.includes('DELETE'), false, methods.join());
      assert.equal(await sluice.metric('sluice_connections'), 0);
    });
  }

  for (const [kind, head] of [
    ['an upload', ['PUT', 'Content-Length: 3', 'abc']],
    ['an upload that is refused early', ['PUT', 'Content-Length: 4', 'abc']],
    ['a GET', ['GET', 'X: y', '']],
  ] as const) {
    it(`passes bytes beyond ASCII on as they are, of fields both ways, for ${kind}`, async () => {
      const [method, field, body] = head;
      upstream.script = async (connection) => {
        await connection.received(body.length);
        const fields = ['X-Name: \xc3\xa9', 'Content-Length: 2'];
        connection.write(Buffer.from(answer(fields, 'ok', 'HTTP/1.1 409 Odd'), 'latin1'));
      };
      const client = await sluice.client();
      const bytes = wire(`${method} ${target} HTTP/1.1`, [field, 'X-Name: \xc3\xa9 \xff'], body);
      await client.write(Buffer.from(bytes, 'latin1'));
      assert.deepEqual((await client.response()).headers.get('x-name'), ['\xc3\xa9']);
      assert.equal(upstream.connections[0]?.header('x-name'), '\xc3\xa9 \xff');
    });
  }

  for (const line of ['204 No Content', '304 Not Modified'] as const) {
    it(`passes a ${line} on that comes before the end of an upload and of another body`, async () => {
      upstream.script = (connection) => connection.write(`HTTP/1.1 ${line}\r\nX-Name: y\r\n\r\n`);
      for (const head of [`PUT ${target} HTTP/1.1`, 'POST /v2/metadefs/namespaces HTTP/1.1']) {
        const client = await sluice.client();
        await client.write(wire(head, ['Content-Length: 4'], 'abc'));
        assert.equal((await client.response()).status, Number(line.slice(0, 3)));
      }
    });
  }

  it('passes TRACE to nobody: 501, and the connection lives on', async () => {
    const client = await sluice.client();
    for (const path of [target, '/']) {
      await client.write(wire(`TRACE ${path} HTTP/1.1`, []));
      const { status, body } = await client.response();
      assert.equal(status, 501);
      assert.equal(Object(JSON.parse(body.toString())).code, 'method-unsupported');
    }
    assert.equal(upstream.connections.length, 0);
  });

  describe('is kept by the gateway where it gives up', () => {
    it('a request that was cut is reset upstream, not ended', async () => {
      const client = await sluice.client();
      await client.write(
        wire('POST /v2/metadefs/namespaces HTTP/1.1', [
          'Content-Type: application/json',
          'Content-Length: 9',
        ]),
      );
      await client.write('{"a"');
      while (upstream.connections.length === 0) await turn();
      const [connection] = upstream.connections;
      await connection?.received(4);
      await turns();
      client.reset();
      assert.equal(await connection?.closed, 'reset');
    });
  });
});
