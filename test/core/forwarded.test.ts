import assert from 'node:assert/strict';
import { forwardedFor } from '../../src/core/forwarded.ts';

const proxies = new Set(['10.0.0.1', '10.0.0.2', '10.0.0.3', '2001:db8::1', 'unknown']);
const asked: string[] = [];
const isTrusted = (address: string): boolean => {
  asked.push(address);
  return proxies.has(address);
};
const behind = (list: string | null, peer: string | undefined) =>
  forwardedFor(list === null ? [] : ['X-Forwarded-For', list], peer, isTrusted);

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
      '1.1.1.1,203.0.113.9, 10.0.0.1',
    ],
    [
      'is found behind several proxies',
      '10.0.0.1',
      '1.1.1.1 , 203.0.113.9 , 10.0.0.3 ,10.0.0.2',
      '203.0.113.9',
      '1.1.1.1 , 203.0.113.9 , 10.0.0.3 ,10.0.0.2, 10.0.0.1',
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
      '::ffff:203.0.113.9, 10.0.0.1',
    ],
    ['has no zone', 'fe80::1%eth0', null, 'fe80::1', 'fe80::1'],
    ['is unknown behind a unix socket', undefined, null, 'unknown', 'unknown'],
    ['is told by a trusted unix socket', undefined, '203.0.113.9', '203.0.113.9', '203.0.113.9, unknown'],
  ];
  for (const [why, peer, list, clientAddress, xForwardedFor] of rows) {
    it(why, () => assert.deepEqual(behind(list, peer), { clientAddress, xForwardedFor }));
  }

  it('is read from all fields in their order', () => {
    const raw = ['X-Forwarded-For', '1.1.1.1', 'A', 'b', 'x-forwarded-for', '203.0.113.9, 10.0.0.2'];
    assert.deepEqual(forwardedFor(raw, '10.0.0.1', isTrusted), {
      clientAddress: '203.0.113.9',
      xForwardedFor: '1.1.1.1, 203.0.113.9, 10.0.0.2, 10.0.0.1',
    });
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
