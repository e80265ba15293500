import assert from 'node:assert/strict';
import { forwarded, maxForwardedEntries, maxForwardedLength } from '../../src/core/forwarded.ts';

const proxies = new Set(['10.0.0.1', '10.0.0.2', '10.0.0.3', '2001:db8::1', 'unknown']);
const asked: string[] = [];
const isTrusted = (address: string): boolean => {
  asked.push(address);
  return proxies.has(address);
};
const from = (raw: readonly string[], peerAddress: string | undefined, scheme: 'http' | 'https' = 'http') =>
  forwarded(raw, { peerAddress, scheme }, isTrusted);
const behind = (list: string | null, peer: string | undefined) => {
  const { clientAddress, fields } = from(list === null ? [] : ['X-Forwarded-For', list], peer);
  return { clientAddress, xForwardedFor: fields[1] };
};

describe('the address of a client', () => {
  const rows: [why: string, peer: string | undefined, list: string | null, client: string, sent: string][] = [
    ['is the peer where nothing is forwarded', '192.0.2.1', null, '192.0.2.1', '192.0.2.1'],
    ['is an untrusted peer whatever it says', '192.0.2.1', '203.0.113.9', '192.0.2.1', '192.0.2.1'],
    [
      'is an untrusted peer that names a proxy',
      '192.0.2.1',
      '203.0.113.9, 10.0.0.1',
      '192.0.2.1',
      '192.0.2.1',
    ],
    ['is a trusted peer that says nothing', '10.0.0.1', null, '10.0.0.1', '10.0.0.1'],
    ['is a trusted peer with an empty list', '10.0.0.1', ' ', '10.0.0.1', '10.0.0.1'],
    ['is what a trusted peer says', '10.0.0.1', '203.0.113.9', '203.0.113.9', '203.0.113.9, 10.0.0.1'],
    [
      'is what the trusted peer wrote, not what the client made up before it',
      '10.0.0.1',
      '1.1.1.1,203.0.113.9',
      '203.0.113.9',
      '203.0.113.9, 10.0.0.1',
    ],
    [
      'is found behind several proxies',
      '10.0.0.1',
      '1.1.1.1 , 203.0.113.9 , 10.0.0.3 ,10.0.0.2',
      '203.0.113.9',
      '203.0.113.9, 10.0.0.3, 10.0.0.2, 10.0.0.1',
    ],
    [
      'is the outermost proxy where all are trusted',
      '10.0.0.1',
      '10.0.0.3, 10.0.0.2',
      '10.0.0.3',
      '10.0.0.3, 10.0.0.2, 10.0.0.1',
    ],
    ['may be IPv6', '2001:db8::1', '2001:DB8::99', '2001:DB8::99', '2001:DB8::99, 2001:db8::1'],
    ['is IPv4 where the peer is mapped', '::ffff:192.0.2.1', null, '192.0.2.1', '192.0.2.1'],
    [
      'is found where the proxy is mapped',
      '::FFFF:10.0.0.1',
      '203.0.113.9',
      '203.0.113.9',
      '203.0.113.9, 10.0.0.1',
    ],
    [
      'is IPv4 where an entry is mapped',
      '10.0.0.1',
      '::ffff:203.0.113.9',
      '203.0.113.9',
      '203.0.113.9, 10.0.0.1',
    ],
    ['has no zone', 'fe80::1%eth0', null, 'fe80::1', 'fe80::1'],
    ['is what the connection says behind a unix socket', 'unix', null, 'unix', 'unknown'],
    ['is unknown where the peer is gone', undefined, null, 'unknown', 'unknown'],
    ['is told by a trusted unix socket', undefined, '203.0.113.9', '203.0.113.9', '203.0.113.9, unknown'],
  ];
  for (const [why, peer, list, clientAddress, xForwardedFor] of rows) {
    it(why, () => assert.deepEqual(behind(list, peer), { clientAddress, xForwardedFor }));
  }

  it('is read from all fields in their order', () => {
    const raw = ['X-Forwarded-For', '1.1.1.1', 'A', 'b', 'x-forwarded-for', '203.0.113.9, 10.0.0.2'];
    const { clientAddress, fields } = from(raw, '10.0.0.1');
    assert.equal(clientAddress, '203.0.113.9');
    assert.equal(fields[1], '203.0.113.9, 10.0.0.2, 10.0.0.1');
  });

  const odd = [
    'unknown',
    '',
    '_hidden',
    'example.org',
    '203.0.113.9:80',
    '[2001:db8::9]',
    '203.0.113',
    '203.0.113.256',
    '203.0.113.09',
    '203.0.113.9.',
    '203.0.113.9.1',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8',
    '1::2::3',
    ':::',
    '12345::',
    '1.2.3.4::',
    '::1.2.3',
    '::1.2.3.4:5',
    '1.2.3.4:5::',
    '::g',
    ':1',
  ];
  for (const entry of odd) {
    it(`is that of the proxy which wrote "${entry}"`, () => {
      assert.equal(behind(`203.0.113.9, ${entry}, 10.0.0.2`, '10.0.0.1').clientAddress, '10.0.0.2');
      assert.equal(behind(`${entry}, 10.0.0.2`, '10.0.0.1').clientAddress, '10.0.0.2');
    });
  }

  const plain = ['0.0.0.0', '255.255.255.255', '::', '::1', '1::', '1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7::'];
  for (const entry of [...plain, '64:ff9b::1.2.3.4', '1:2:3:4:5:6:1.2.3.4', '::2:3:4:5:6:7:8']) {
    it(`may be ${entry}`, () => {
      assert.equal(behind(`9.9.9.9, ${entry}, 10.0.0.2`, '10.0.0.1').clientAddress, entry);
    });
  }

  it('is asked for trust in plain addresses only', () => {
    asked.length = 0;
    for (const entry of odd.filter((text) => text !== 'unknown')) behind(entry, '10.0.0.1');
    assert.deepEqual([...new Set(asked)], ['10.0.0.1']);
  });
});

describe('what goes upstream about a request', () => {
  const host = ['Host', 'images.example:9191'];
  const proxied = [...host, 'X-Forwarded-For', '203.0.113.9'];
  const rows: [why: string, peer: string, raw: readonly string[], sent: readonly (string | null)[]][] = [
    // X-Forwarded-For, -Proto, -Host, Forwarded
    [
      'is what the connection and Host say',
      '192.0.2.1',
      host,
      ['192.0.2.1', 'http', 'images.example:9191', 'for=192.0.2.1;proto=http'],
    ],
    [
      'is not what a stranger says',
      '192.0.2.1',
      [
        ...proxied,
        ...['X-Forwarded-Proto', 'https', 'X-Forwarded-Host', 'evil', 'X-Forwarded-Prefix', '/evil'],
        ...['Forwarded', 'for=1.1.1.1;proto=https;host=evil'],
      ],
      ['192.0.2.1', 'http', 'images.example:9191', 'for=192.0.2.1;proto=http'],
    ],
    [
      'has IPv6 in brackets and quotes in Forwarded only',
      '2001:db8::2',
      host,
      ['2001:db8::2', 'http', 'images.example:9191', 'for="[2001:db8::2]";proto=http'],
    ],
    [
      'has no address of a unix socket',
      'unix',
      host,
      ['unknown', 'http', 'images.example:9191', 'for=unknown;proto=http'],
    ],
    [
      'has no host where there is none',
      '192.0.2.1',
      [],
      ['192.0.2.1', 'http', null, 'for=192.0.2.1;proto=http'],
    ],
    [
      'is what a trusted proxy says of scheme and host',
      '10.0.0.1',
      [...proxied, 'X-Forwarded-Proto', 'HTTPS', 'x-forwarded-host', 'cloud.example'],
      [
        '203.0.113.9, 10.0.0.1',
        'https',
        'cloud.example',
        'for=203.0.113.9;host=cloud.example;proto=https, for=10.0.0.1;proto=http',
      ],
    ],
    [
      'has a host with a port in quotes',
      '10.0.0.1',
      [...proxied, 'X-Forwarded-Host', 'cloud.example:8443'],
      [
        '203.0.113.9, 10.0.0.1',
        'http',
        'cloud.example:8443',
        'for=203.0.113.9;host="cloud.example:8443";proto=http, for=10.0.0.1;proto=http',
      ],
    ],
    [
      'has a host of IPv6 in quotes',
      '10.0.0.1',
      ['Host', 'h', 'X-Forwarded-Host', '[2001:db8::5]'],
      ['10.0.0.1', 'http', '[2001:db8::5]', 'for=10.0.0.1;host="[2001:db8::5]";proto=http'],
    ],
    [
      'says no host twice',
      '10.0.0.1',
      [...proxied, 'X-Forwarded-Host', 'images.example:9191'],
      [
        '203.0.113.9, 10.0.0.1',
        'http',
        'images.example:9191',
        'for=203.0.113.9;proto=http, for=10.0.0.1;proto=http',
      ],
    ],
    [
      'has the last scheme and host of lists, which the nearest proxy wrote',
      '10.0.0.1',
      [...proxied, 'X-Forwarded-Proto', 'gopher, https', 'X-Forwarded-Host', 'evil', 'X-Forwarded-Host', 'h'],
      ['203.0.113.9, 10.0.0.1', 'https', 'h', 'for=203.0.113.9;host=h;proto=https, for=10.0.0.1;proto=http'],
    ],
    [
      'has neither a scheme nor a host that is none',
      '10.0.0.1',
      [...proxied, 'X-Forwarded-Proto', 'javascript', 'X-Forwarded-Host', 'a"b'],
      [
        '203.0.113.9, 10.0.0.1',
        'http',
        'images.example:9191',
        'for=203.0.113.9;proto=http, for=10.0.0.1;proto=http',
      ],
    ],
    [
      'is read from Forwarded where that stands alone',
      '10.0.0.1',
      [...host, 'Forwarded', 'For="[2001:DB8::9]:4711";Proto=https; by=_x;host="cloud.example:8443"'],
      [
        '2001:DB8::9, 10.0.0.1',
        'https',
        'cloud.example:8443',
        'for="[2001:DB8::9]";host="cloud.example:8443";proto=https, for=10.0.0.1;proto=http',
      ],
    ],
    [
      'is the word of the outermost trusted proxy, and nothing the client made up before it',
      '10.0.0.1',
      [
        ...host,
        ...['Forwarded', 'for=1.1.1.1;proto=http;host=evil, for="203.0.113.9:80";proto=https;host=h'],
        ...['forwarded', 'for=10.0.0.3, for="10.0.0.2";proto=http;host=inner'],
      ],
      [
        '203.0.113.9, 10.0.0.3, 10.0.0.2, 10.0.0.1',
        'https',
        'h',
        'for=203.0.113.9;host=h;proto=https, for=10.0.0.3, for=10.0.0.2, for=10.0.0.1;proto=http',
      ],
    ],
    [
      'is the word of an inner proxy where the outer ones have none',
      '10.0.0.1',
      [...host, 'Forwarded', 'for=203.0.113.9, for=10.0.0.2;proto=https;host=inner'],
      [
        '203.0.113.9, 10.0.0.2, 10.0.0.1',
        'https',
        'inner',
        'for=203.0.113.9;host=inner;proto=https, for=10.0.0.2, for=10.0.0.1;proto=http',
      ],
    ],
    [
      'has the scheme of a proxy that hides the client',
      '10.0.0.1',
      [...host, 'Forwarded', 'for=1.1.1.1;proto=http, for=_hidden;proto=https'],
      ['10.0.0.1', 'https', 'images.example:9191', 'for=10.0.0.1;proto=https'],
    ],
    [
      'is read from X-Forwarded-For where Forwarded says something else',
      '10.0.0.1',
      [...proxied, 'Forwarded', 'for=1.1.1.1;proto=https;host=evil'],
      [
        '203.0.113.9, 10.0.0.1',
        'http',
        'images.example:9191',
        'for=203.0.113.9;proto=http, for=10.0.0.1;proto=http',
      ],
    ],
    [
      'is read from any X-Forwarded header before Forwarded',
      '10.0.0.1',
      [...host, 'X-Forwarded-Proto', 'http', 'Forwarded', 'for=1.1.1.1;proto=https'],
      ['10.0.0.1', 'http', 'images.example:9191', 'for=10.0.0.1;proto=http'],
    ],
  ];
  for (const [why, peer, raw, [xFor, xProto, xHost, element]] of rows) {
    it(why, () => {
      const { fields } = from(raw, peer);
      assert.deepEqual(fields, [
        ...['X-Forwarded-For', xFor, 'X-Forwarded-Proto', xProto],
        ...(xHost === null ? [] : ['X-Forwarded-Host', xHost]),
        ...['Forwarded', element],
      ]);
    });
  }

  it('has the scheme of an encrypted connection', () => {
    const { fields } = from(host, '192.0.2.1', 'https');
    assert.equal(fields[3], 'https');
    assert.equal(fields.at(-1), 'for=192.0.2.1;proto=https');
  });

  for (const malformed of [
    '',
    'for',
    'for=',
    'for="203.0.113.9',
    'for=203.0.113.9"',
    'for=203.0.113.9;for=203.0.113.8',
    'for=203.0.113.9;;proto=https',
    'for=203.0.113.9;proto="ht\\"tps"',
    'for="a,b"',
    'for=[2001:db8::9]',
    'for="203.0.113.9\\""',
    'for=203.0.113.9 proto=https',
  ]) {
    it(`is not read from the element ${malformed}, nor from what stands left of it`, () => {
      const raw = [...host, 'Forwarded', `for=1.1.1.1;proto=https, ${malformed}, for=10.0.0.2`];
      assert.equal(from(raw, '10.0.0.1').fields[1], '10.0.0.2, 10.0.0.1');
      assert.equal(from(raw, '10.0.0.1').fields[3], 'http');
    });
  }

  for (const [left, read] of [
    [maxForwardedEntries - 1, true],
    [maxForwardedEntries, false],
  ] as const) {
    it(`is ${read ? '' : 'not '}read of an entry with ${left} entries right of it`, () => {
      const rest = ', 10.0.0.2'.repeat(left);
      assert.equal(behind(`203.0.113.9${rest}`, '10.0.0.1').clientAddress, read ? '203.0.113.9' : '10.0.0.2');
      const elements = ', for=10.0.0.2'.repeat(left);
      const { clientAddress } = from(['Forwarded', `for=203.0.113.9${elements}`], '10.0.0.1');
      assert.equal(clientAddress, read ? '203.0.113.9' : '10.0.0.2');
    });
  }

  for (const beyond of [-1, 0, 1]) {
    it(`is read of an entry ${beyond} characters beyond the bound only if that is not above 0`, () => {
      const entry = '203.0.113.9';
      const rest = `,${' '.repeat(maxForwardedLength + beyond - entry.length - ',10.0.0.2'.length)}10.0.0.2`;
      const seen = behind(`${entry}${rest}`, '10.0.0.1').clientAddress;
      assert.equal(seen, beyond > 0 ? '10.0.0.2' : entry);
      // with something left of it, which is cut first
      assert.equal(behind(`x,${entry}${rest}`, '10.0.0.1').clientAddress, seen);
    });
  }

  it('is found behind whatever a client piled up in front', () => {
    const junk = `${'for="'.repeat(5_000)}, for="`;
    assert.equal(from(['Forwarded', `${junk}, for=203.0.113.9`], '10.0.0.1').clientAddress, '203.0.113.9');
    assert.equal(behind(`${','.repeat(5_000)}203.0.113.9`, '10.0.0.1').clientAddress, '203.0.113.9');
    assert.equal(behind(','.repeat(5_000), '10.0.0.1').clientAddress, '10.0.0.1');
  });
});
