import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  binaryHeadBytes,
  mostBinaryRestBytes,
  mostTextBytes,
  provenClient,
  readProxyHeader,
} from '../../src/core/proxy-header.ts';

const text = (line: string): Buffer => Buffer.from(line, 'latin1');

const signature = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];

/** A header of version 2 with these two bytes after the signature. */
const binary = (command: number, family: number, rest: readonly number[]): Buffer =>
  Buffer.from([...signature, command, family, rest.length >> 8, rest.length & 0xff, ...rest]);

const four = [192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x34, 0x01, 0xbb];
const six = [
  ...Buffer.from('20010db8000000000000000000000001', 'hex'),
  ...Array<number>(16).fill(9),
  0,
  1,
  0,
  2,
];
const mapped = [
  ...Array<number>(10).fill(0),
  0xff,
  0xff,
  192,
  0,
  2,
  1,
  ...Array<number>(16).fill(9),
  0,
  1,
  0,
  2,
];
const zeros = (count: number): number[] => Array<number>(count).fill(0);

const whole: readonly (readonly [string, Buffer, string | null])[] = [
  ['TCP4', text('PROXY TCP4 192.0.2.1 198.51.100.2 4660 443\r\n'), '192.0.2.1'],
  [
    'TCP4 with the smallest and the largest port',
    text('PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n'),
    '0.0.0.0',
  ],
  ['TCP6', text('PROXY TCP6 2001:db8::1 ::2 1 2\r\n'), '2001:db8::1'],
  ['TCP6, spelled at length', text('PROXY TCP6 2001:0DB8:0:0:0:0:0:1 ::2 1 2\r\n'), '2001:db8::1'],
  ['TCP6 that is IPv4', text('PROXY TCP6 ::ffff:192.0.2.1 ::2 1 2\r\n'), '192.0.2.1'],
  [
    'TCP6 at its longest',
    text(`PROXY TCP6 ${'ffff:'.repeat(7)}ffff ${'ffff:'.repeat(7)}ffff 65535 65535\r\n`),
    'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
  ],
  ['UNKNOWN', text('PROXY UNKNOWN\r\n'), null],
  ['UNKNOWN with addresses', text('PROXY UNKNOWN 192.0.2.1 192.0.2.1 1 2\r\n'), null],
  ['UNKNOWN of 107 bytes', text(`PROXY UNKNOWN ${'x'.repeat(mostTextBytes - 16)}\r\n`), null],
  ['version 2 of IPv4', binary(0x21, 0x11, four), '192.0.2.1'],
  ['version 2 of IPv4 with more behind', binary(0x21, 0x11, [...four, 4, 0, 2, 7, 7]), '192.0.2.1'],
  ['version 2 of IPv6', binary(0x21, 0x21, six), '2001:db8::1'],
  ['version 2 of IPv6 that is IPv4', binary(0x21, 0x21, mapped), '192.0.2.1'],
  ['version 2 of a unix socket', binary(0x21, 0x31, zeros(216)), null],
  ['version 2 of nobody', binary(0x21, 0x00, []), null],
  ['version 2 of a datagram', binary(0x21, 0x12, four), null],
  ['version 2, LOCAL', binary(0x20, 0x00, []), null],
  ['version 2, LOCAL with an address', binary(0x20, 0x11, four), null],
  ['version 2, LOCAL of a family to come', binary(0x20, 0xff, [1, 2, 3]), null],
  [
    'version 2 at its longest',
    binary(0x21, 0x11, [...four, ...zeros(mostBinaryRestBytes - 12)]),
    '192.0.2.1',
  ],
];

const invalid: readonly (readonly [string, Buffer])[] = [
  ['a request', text('GET / HTTP/1.1\r\n')],
  ['a handshake of TLS', Buffer.from([22, 3, 1, 2, 0])],
  ['small letters', text('proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n')],
  ['another family', text('PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n')],
  ['a word that begins with UNKNOWN', text('PROXY UNKNOWNS\r\n')],
  ['IPv6 as TCP4', text('PROXY TCP4 ::1 ::2 1 2\r\n')],
  ['IPv4 as TCP6', text('PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n')],
  ['no address', text('PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n')],
  ['a leading zero', text('PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n')],
  ['a zone', text('PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n')],
  ['a target that is no address', text('PROXY TCP4 192.0.2.1 here 1 2\r\n')],
  ['a port of 65536', text('PROXY TCP4 192.0.2.1 198.51.100.2 1 65536\r\n')],
  ['a port with a leading zero', text('PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n')],
  ['no ports', text('PROXY TCP4 192.0.2.1 198.51.100.2\r\n')],
  ['two spaces', text('PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n')],
  ['something behind', text('PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n')],
  ['LF alone', text('PROXY TCP4 192.0.2.1 198.51.100.2 1 2\nGET / HTTP/1.1\r\n')],
  ['a line of 108 bytes', text(`PROXY UNKNOWN ${'x'.repeat(mostTextBytes - 15)}\r\n`)],
  ['a line without end', text(`PROXY UNKNOWN ${'x'.repeat(mostTextBytes)}`)],
  ['version 1 in binary', binary(0x11, 0x11, four)],
  ['version 3', binary(0x31, 0x11, four)],
  ['a command to come', binary(0x22, 0x11, four)],
  ['a family to come', binary(0x21, 0x41, four)],
  ['a transport to come', binary(0x21, 0x13, four)],
  ['IPv4 addresses one byte short', binary(0x21, 0x11, four.slice(1))],
  ['IPv6 addresses one byte short', binary(0x21, 0x21, six.slice(1))],
  ['unix addresses one byte short', binary(0x21, 0x31, zeros(215))],
  ['a rest of one byte over the limit', binary(0x21, 0x11, zeros(mostBinaryRestBytes + 1))],
];

describe('a PROXY header', () => {
  for (const [what, header, client] of whole) {
    it(`is read where it is ${what}, and nothing of what follows`, () => {
      const expected = { state: 'whole', bytes: header.length, client };
      assert.deepEqual(readProxyHeader(header), expected);
      assert.deepEqual(readProxyHeader(Buffer.concat([header, text('GET /\r\n\r\n')])), expected);
    });

    it(`is waited for as long as it is not whole: ${what}`, () => {
      const parts = header.length > 300 ? [0, 1, 15, 16, 17, header.length - 1] : [...header.keys()];
      for (const length of parts) {
        assert.deepEqual(
          readProxyHeader(header.subarray(0, length)),
          { state: 'incomplete' },
          String(length),
        );
      }
    });
  }

  for (const [what, bytes] of invalid) {
    it(`is refused where it is ${what}`, () => {
      assert.equal(readProxyHeader(bytes).state, 'invalid');
    });
  }

  it('is refused at the first byte that cannot be of one', () => {
    for (const [start, wrong] of [
      [text('PROXY '), text('PROXX')],
      [Buffer.from(signature), Buffer.from([...signature.slice(0, 11), 0x0b])],
    ] as const) {
      assert.equal(readProxyHeader(start).state, 'incomplete');
      assert.equal(readProxyHeader(wrong).state, 'invalid');
    }
  });

  it('is never longer than what has arrived, whatever that is', () => {
    const likely = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.uint8Array({ maxLength: 60 }).map((rest) => Buffer.from([...signature, ...rest])),
      fc.string({ maxLength: 120 }).map((rest) => text(`PROXY ${rest}\r\n`)),
      fc
        .tuple(fc.constantFrom(...whole), fc.nat(), fc.nat(255))
        .map(([[, header], at, byte]) =>
          Buffer.from(header).fill(byte, at % header.length, (at % header.length) + 1),
        ),
    );
    fc.assert(
      fc.property(likely, (bytes) => {
        const header = readProxyHeader(bytes);
        if (header.state !== 'whole') return;
        assert.equal(
          header.bytes <= bytes.length && header.bytes <= binaryHeadBytes + mostBinaryRestBytes,
          true,
        );
        assert.deepEqual(readProxyHeader(bytes.subarray(0, header.bytes)), header);
        assert.equal(readProxyHeader(bytes.subarray(0, header.bytes - 1)).state, 'incomplete');
      }),
    );
  });
});

describe('who a connection with a PROXY header counts as', () => {
  for (const [client, peer, counts] of [
    ['192.0.2.1', '10.0.0.1', '192.0.2.1'],
    ['192.0.2.1', 'unix', '192.0.2.1'],
    // the balancer's own voice is for what it says of others
    [null, '10.0.0.1', 'unknown'],
    [null, '127.0.0.1', 'unknown'],
    [null, 'unix', 'unknown'],
    // another machine's loopback is not ours
    ['127.0.0.1', '10.0.0.1', 'unknown'],
    ['127.9.9.9', '10.0.0.1', 'unknown'],
    ['::1', '10.0.0.1', 'unknown'],
    ['::1', '2001:db8::1', 'unknown'],
    ['127.0.0.1', '127.0.0.1', '127.0.0.1'],
    ['127.0.0.1', '::1', '127.0.0.1'],
    ['::1', 'unix', '::1'],
  ] as const) {
    it(`${client ?? 'nobody'} by ${peer} is ${counts}`, () => {
      assert.equal(provenClient(client, peer), counts);
    });
  }
});
