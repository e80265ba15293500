import assert from 'node:assert/strict';
import {
  answeredRequestId,
  checkHeaders,
  countHeaders,
  headerValue,
  joinedHeader,
  longestLoggedId,
  maxHeaders,
  type RequestHeaderOptions,
  requestHeaders,
  requestId,
  responseHeaders,
} from '../../src/core/headers.ts';
import { assertRefuses } from './refusal.ts';

const stranger: RequestHeaderOptions = {
  method: 'PUT',
  trustIdentity: false,
  trustServiceToken: false,
  identityNames: new Set(['x-who']),
  sizeHeader: 'x-openstack-image-size',
};
const trusted: RequestHeaderOptions = { ...stranger, trustIdentity: true };
const named = (names: string[]): string[] => names.flatMap((name) => [name, 'value']);

const identity = [
  'X-Identity-Status',
  'X-Service-Identity-Status',
  'X-Service-Catalog',
  'X-Is-Admin-Project',
  'OpenStack-System-Scope',
  'X-User-Id',
  'X-User-Name',
  'X-User-Domain-Id',
  'X-User-Domain-Name',
  'X-Project-Id',
  'X-Project-Name',
  'X-Project-Domain-Id',
  'X-Project-Domain-Name',
  'X-Domain-Id',
  'X-Domain-Name',
  'X-Roles',
  'X-Service-User-Id',
  'X-Service-User-Name',
  'X-Service-User-Domain-Id',
  'X-Service-User-Domain-Name',
  'X-Service-Project-Id',
  'X-Service-Project-Name',
  'X-Service-Project-Domain-Id',
  'X-Service-Project-Domain-Name',
  'X-Service-Domain-Id',
  'X-Service-Domain-Name',
  'X-Service-Roles',
  'X-Role',
  'X-User',
  'X-Tenant-Id',
  'X-Tenant-Name',
  'X-Tenant',
  'X-Who',
];
const hop = [
  'Keep-Alive',
  'Proxy-Connection',
  'Proxy-Authenticate',
  'Proxy-Authorization',
  'TE',
  'Trailer',
  'Transfer-Encoding',
  'Upgrade',
];
const neverSentOn = [
  ...hop,
  'Expect',
  'Content-Length',
  'Forwarded',
  'X-Forwarded-For',
  'X-Forwarded-Host',
  'X-Forwarded-Proto',
  'X-Forwarded-Prefix',
  'X-Forwarded-Anything',
  'X-Real-IP',
  'Via',
  'Traceparent',
  'Tracestate',
  'X-HTTP-Method-Override',
  'X-HTTP-Method',
  'X-Method-Override',
  'X-OpenStack-Request-ID',
  'X-Image-Meta-Status',
  'X-Image-Meta-Store-Id',
  'X_Auth_Token',
  'X-Auth_Token',
  'Content_Length',
  'Transfer_Encoding',
  '_',
];
const alwaysSentOn = [
  'Host',
  'Content-Type',
  'X-Auth-Token',
  'X-Storage-Token',
  'X-Image-Meta-Store',
  'x-openstack-image-size',
  'x-openstack-base-image-ref',
  'Content-Range',
  'Range',
  'Accept',
  'Cookie',
  'X-Userid',
];

describe('the headers of a request', () => {
  for (const options of [stranger, trusted]) {
    const who = options.trustIdentity ? 'a trusted peer' : 'a stranger';
    for (const name of neverSentOn) {
      it(`from ${who} go upstream without ${name}, in any case`, () => {
        const raw = named([name, name.toUpperCase(), name.toLowerCase(), 'Host']);
        assert.deepEqual(requestHeaders(raw, options), ['Host', 'value']);
      });
    }
    for (const name of alwaysSentOn) {
      it(`from ${who} go upstream with ${name}`, () => {
        assert.deepEqual(requestHeaders([name, 'value'], options), [name, 'value']);
      });
    }
  }
  for (const name of identity) {
    it(`say who the user is by ${name} only if the peer is trusted`, () => {
      const raw = named([name, name.toUpperCase(), name.toLowerCase()]);
      assert.deepEqual(requestHeaders(raw, stranger), []);
      assert.deepEqual(requestHeaders(raw, trusted), raw);
    });
  }

  it('bring the token of a service from its networks only, whoever else may say who the user is', () => {
    const raw = named(['X-Service-Token', 'X-SERVICE-TOKEN', 'x-service-token']);
    assert.deepEqual(requestHeaders(raw, trusted), []);
    assert.deepEqual(requestHeaders(raw, { ...stranger, trustServiceToken: true }), raw);
  });

  it('keep their order, their case and their duplicates', () => {
    const raw = ['b', '1', 'HOST', 'h', 'Te', 'x', 'A', '', 'B', '2', 'a', '3'];
    assert.deepEqual(requestHeaders(raw, stranger), ['b', '1', 'HOST', 'h', 'A', '', 'B', '2', 'a', '3']);
  });

  it('say no Content-Range where Glance would take it for a Range', () => {
    const raw = ['content-range', 'bytes 0-1/2'];
    assert.deepEqual(requestHeaders(raw, { ...stranger, method: 'GET' }), []);
    assert.deepEqual(requestHeaders(raw, { ...stranger, method: 'HEAD' }), []);
    assert.deepEqual(requestHeaders(raw, { ...stranger, method: 'PATCH' }), raw);
  });

  it('lose what Connection names, in any of its fields', () => {
    const raw = [
      'Connection',
      'close, X-One ,, ',
      'x-one',
      '1',
      'X-Two',
      '2',
      'connection',
      'X-TWO',
      'X-Three',
      '3',
    ];
    assert.deepEqual(requestHeaders(raw, stranger), ['X-Three', '3']);
  });

  for (const name of [
    'Host',
    'X-Auth-Token',
    'X-Storage-Token',
    'Content-Length',
    'Transfer-Encoding',
    'Content-Type',
    'X-OpenStack-Image-Size',
    'X-Image-Meta-Store',
    'X-Forwarded-For',
    'Expect',
    'Authorization',
    'X-Who',
    'X-Project-Id',
  ]) {
    it(`are refused if Connection names ${name}, present or not`, () => {
      const raw = ['Connection', `keep-alive, ${name}`];
      assertRefuses('header-invalid', () => requestHeaders(raw, stranger), name);
      assertRefuses('header-invalid', () => requestHeaders([...raw, name, '1'], trusted), name);
    });
  }

  it('may have the usual words in Connection', () => {
    const raw = [
      'Connection',
      'close, Keep-Alive, TE, Upgrade, HTTP2-Settings',
      'HTTP2-Settings',
      'x',
      'A',
      'b',
    ];
    assert.deepEqual(requestHeaders(raw, stranger), ['A', 'b']);
  });
});

describe('the headers of a response', () => {
  const via = ['Via', '1.1 sluice'];
  it('reach the client without those of the hop', () => {
    const raw = [
      ...named(hop),
      'Connection',
      'close, X-Hop',
      'X-hop',
      '1',
      'Set-Cookie',
      'a',
      'set-cookie',
      'b',
    ];
    const kept = ['Set-Cookie', 'a', 'set-cookie', 'b', ...via];
    assert.deepEqual(responseHeaders(raw, { contentLength: true }), kept);
  });
  it('keep Content-Length or lose it as the caller says, whatever Connection says', () => {
    const raw = [
      'Connection',
      'Content-Length',
      'content-length',
      '5',
      'WWW-Authenticate',
      'Keystone uri="k"',
    ];
    assert.deepEqual(responseHeaders(raw, { contentLength: true }), [...raw.slice(2), ...via]);
    assert.deepEqual(responseHeaders(raw, { contentLength: false }), [...raw.slice(4), ...via]);
  });
  it('name the gateway last in one Via', () => {
    const raw = ['VIA', '1.0 a', 'B', '1', 'via', '1.1 b (x, y)'];
    const kept = ['B', '1', 'Via', '1.0 a, 1.1 b (x, y), 1.1 sluice'];
    assert.deepEqual(responseHeaders(raw, { contentLength: true }), kept);
  });
});

describe('a header', () => {
  const raw = ['A', '1', 'B', '', 'a', '2', 'AA', 'A'];
  it('that stands once has a value, in any case', () => {
    assert.equal(headerValue(raw, 'b'), '');
    assert.equal(headerValue(raw, 'aa'), 'A');
    assert.equal(headerValue(raw, 'c'), undefined);
  });
  it('that stands twice has no single value', () => {
    assertRefuses('header-invalid', () => headerValue(raw, 'a'), 'twice');
    assertRefuses('header-invalid', () => headerValue(['a', '', 'A', ''], 'a'), 'twice and empty');
  });
  it('that stands twice can be counted and joined', () => {
    assert.equal(countHeaders(raw, 'a'), 2);
    assert.equal(countHeaders(raw, 'c'), 0);
    assert.equal(joinedHeader(raw, 'a'), '1, 2');
    assert.equal(joinedHeader(raw, 'b'), '');
    assert.equal(joinedHeader(['a', '', 'A', 'x'], 'a'), ', x');
    assert.equal(joinedHeader(raw, 'c'), undefined);
  });
});

describe('a head', () => {
  const host = ['Host', 'images.example:9292'];
  it(`may have ${maxHeaders} headers and not one more`, () => {
    const rest = Array.from({ length: maxHeaders - 1 }, () => ['a', 'b']).flat();
    checkHeaders([...host, ...rest], '1.1');
    assertRefuses('headers-too-large', () => checkHeaders([...host, ...rest, 'a', 'b'], '1.1'), '201');
  });
  it('holds no control characters but tabs', () => {
    for (let code = 0; code < 256; code += 1) {
      const value = `a${String.fromCharCode(code)}b`;
      const check = () => checkHeaders([...host, 'X', value], '1.1');
      if (code === 9 || (code >= 32 && code !== 127)) check();
      else assertRefuses('header-invalid', check, `character ${code}`);
    }
    assertRefuses('header-invalid', () => checkHeaders([...host, 'X', '\u010a'], '1.1'), 'U+010A');
  });
  it('names its host once', () => {
    checkHeaders([], '1.0');
    assertRefuses('request-invalid', () => checkHeaders(['A', 'b'], '1.1'), 'none');
    assertRefuses('request-invalid', () => checkHeaders([...host, ...host], '1.1'), 'two');
    assertRefuses('request-invalid', () => checkHeaders([...host, 'HOST', 'b'], '1.0'), 'two in HTTP/1.0');
  });
  for (const value of [
    'h',
    'h:1',
    '127.0.0.1:9191',
    '[::1]',
    '[2001:db8::1.2.3.4]:80',
    'image_api',
    'A-b.c.',
    'h'.repeat(262),
    'h'.repeat(263),
  ]) {
    it(`may name ${value} as its host`, () => checkHeaders(['host', value], '1.1'));
  }
  for (const value of [
    '',
    ':80',
    'a b',
    'a,b',
    'a/b',
    'u@h',
    'a:',
    'a:b',
    'a:123456',
    '::1',
    '[::1',
    '[::1]x',
    'h?',
    'é',
    'a\t',
    'h'.repeat(264),
  ]) {
    it(`may not name ${JSON.stringify(value)} as its host`, () => {
      assertRefuses('request-invalid', () => checkHeaders(['host', value], '1.1'), value);
    });
  }
});

describe('a request id', () => {
  const id = (value: string) => requestId(['x-openstack-request-id', value]);
  it('is taken over from the client up to 64 characters', () => {
    assert.equal(id('req-0a_B.9'), 'req-0a_B.9');
    assert.equal(id('a'.repeat(63)), 'a'.repeat(63));
    assert.equal(id('a'.repeat(64)), 'a'.repeat(64));
    assert.equal(id('a'.repeat(65)), null);
  });
  it('is not taken over if it is absent, doubled or odd', () => {
    assert.equal(requestId([]), null);
    assert.equal(requestId(['X-OpenStack-Request-ID', 'a', 'X-Openstack-Request-Id', 'a']), null);
    for (const value of ['', 'a b', 'a\n', 'a"b', '{a}', 'é', 'a,b']) assert.equal(id(value), null, value);
  });
});

describe('the request id of an answer', () => {
  it('is the one that the API gave, in any case, and none where it gave none', () => {
    assert.equal(answeredRequestId(['x-openstack-REQUEST-id', 'req-1']), 'req-1');
    assert.equal(answeredRequestId(['X-Openstack-Request-Id', '']), null);
    assert.equal(answeredRequestId(['X-Request-Id', 'req-1']), null);
  });
  for (const over of [-1, 0, 1]) {
    it(`is logged up to ${longestLoggedId} characters: ${over} beyond`, () => {
      const id = 'x'.repeat(longestLoggedId + over);
      assert.equal(answeredRequestId(['X-Openstack-Request-Id', id]), id.slice(0, longestLoggedId));
    });
  }
});
