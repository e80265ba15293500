import assert from 'node:assert/strict';
import { z } from 'zod';
import { eventually } from '../support/eventually.ts';
import { RawClient, type RawResponse } from '../support/raw-client.ts';
import { CountingTap } from './support/counting-tap.ts';
import { Gateway } from './support/gateway.ts';
import { createImage, statusInGlance } from './support/image.ts';
import { revoke } from './support/keystone.ts';
import { newOwner, type Owner, withNewToken } from './support/owner.ts';
import { publish } from './support/secrets.ts';
import { glanceOrigin, keystoneUrl } from './support/stack.ts';
import { MiB, putNew } from './support/upload.ts';

const openstackError = z.object({
  error: z.object({ code: z.literal(401), title: z.string(), message: z.string() }),
});

describe('an upload without a valid token', () => {
  let tap: CountingTap;
  let gateway: Gateway;
  let owner: Owner;
  let imageId: string;

  before(async () => {
    tap = await CountingTap.start(glanceOrigin);
    gateway = await Gateway.start({ upstream: tap.origin, quota: '1GiB', keystone: { cache_ttl: '3s' } });
    owner = await newOwner();
  });
  after(async () => {
    await gateway.stop();
    await tap.stop();
  });
  beforeEach(async () => {
    imageId = await createImage(glanceOrigin, owner);
  });

  const tokens: Readonly<Record<string, () => string[]>> = {
    'no token': () => [],
    'an empty token': () => ['X-Auth-Token:'],
    'a made-up token': () => ['X-Auth-Token: gAAAAABmade-up'],
    'a made-up token in X-Storage-Token': () => ['X-Storage-Token: gAAAAABmade-up'],
    'a token that is cut short': () => [`X-Auth-Token: ${owner.token.slice(0, -2)}`],
    'identity headers instead': () => [
      ...['X-Identity-Status: Confirmed', `X-User-Id: ${owner.userId}`, `X-Project-Id: ${owner.projectId}`],
      'X-Roles: admin',
    ],
    'a made-up token beside the token of a service': () => [
      ...['X-Auth-Token: gAAAAABmade-up', `X-Service-Token: ${owner.token}`],
    ],
  };
  const heads: Readonly<Record<string, readonly string[]>> = {
    'that waits for 100 Continue': [`Content-Length: ${MiB}`, 'Expect: 100-continue'],
    'of known length': [`Content-Length: ${MiB}`],
    'of unknown length': ['Transfer-Encoding: chunked'],
    'of an OpenStack client': [`Content-Length: ${MiB}`, 'User-Agent: python-glanceclient'],
  };

  async function answerTo(...fields: readonly string[]): Promise<RawResponse> {
    const client = await RawClient.connect(gateway.port);
    try {
      await client.request(
        `PUT /v2/images/${imageId}/file HTTP/1.1`,
        ...['Host: images', 'Content-Type: application/octet-stream', ...fields],
      );
      // no byte of the body is ever sent: the answer must not wait for one
      const answer = await client.response();
      publish('a 401', answer.body.toString());
      return answer;
    } finally {
      client.destroy();
    }
  }

  for (const [token, fields] of Object.entries(tokens)) {
    for (const [head, framing] of Object.entries(heads)) {
      it(`is refused before Glance hears of it: ${token}, an upload ${head}`, async () => {
        const answer = await answerTo(...fields(), ...framing);
        assert.equal(answer.status, 401, answer.body.toString());
        assert.deepEqual(answer.informational, []);
        assert.deepEqual(answer.headers.get('www-authenticate'), [`Keystone uri="${keystoneUrl}"`]);
        assert.ok(openstackError.parse(JSON.parse(answer.body.toString())).error.message.length > 0);
        assert.deepEqual(tap.seen('PUT', imageId), []);
        assert.deepEqual(tap.seen('GET', imageId), []);
        assert.equal(await statusInGlance(owner, imageId), 'queued');
      });
    }
  }

  it('two tokens are refused, whichever of them is valid', async () => {
    const pair = [`X-Auth-Token: ${owner.token}`, 'X-Auth-Token: gAAAAABmade-up'];
    for (const fields of [pair, pair.toReversed()]) {
      const answer = await answerTo(...fields, `Content-Length: ${MiB}`);
      assert.equal(answer.status, 400);
      assert.deepEqual(tap.seen('PUT', imageId), []);
    }
  });

  it('a revoked token is believed as long as it is remembered, and no longer', async () => {
    const { origin } = gateway;
    const revoked = await withNewToken(owner);
    assert.equal((await putNew(origin, revoked, 1)).status, 204);
    await revoke(revoked.token);
    assert.equal((await putNew(origin, revoked, 1)).status, 204);
    // Glance remembers it for five minutes, so a 401 can only be the gateway's
    await eventually(async () => assert.equal((await putNew(origin, revoked, 1)).status, 401));
    assert.equal((await putNew(origin, revoked, 1)).code, 'token-invalid');
    assert.equal((await putNew(origin, owner, 1)).status, 204);
  });
});
