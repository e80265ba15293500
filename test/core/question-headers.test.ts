import assert from 'node:assert/strict';
import { questionHeaders } from '../../src/core/question-headers.ts';

describe('a question of the gateway’s own', () => {
  for (const name of [
    'Accept',
    'Accept-Encoding',
    'ACCEPT-LANGUAGE',
    'Content-Type',
    'Content-Encoding',
    'Content-Range',
    'Content-MD5',
    'Range',
    'If-None-Match',
    'If-Range',
    'Cache-Control',
    'X-Image-Meta-Store',
    'X-OpenStack-Image-Size',
  ]) {
    it(`says nothing of the caller's ${name}`, () => {
      const asked = questionHeaders([name, 'x', 'Host', 'h'], 'x-openstack-image-size');
      assert.deepEqual(asked, ['Accept', 'application/json', 'Host', 'h']);
    });
  }

  it('comes with whatever may be credentials, and from where the caller came', () => {
    const raw = [
      'X-Auth-Token',
      't',
      'Authorization',
      'a',
      'Cookie',
      'c',
      'X-Api-Key',
      'k',
      'X-Forwarded-For',
      'f',
    ];
    assert.deepEqual(questionHeaders(raw, null), ['Accept', 'application/json', ...raw]);
  });
});
