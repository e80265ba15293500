import assert from 'node:assert/strict';
import { GatewayError } from '../../src/core/errors.ts';
import { Networks } from '../../src/http/networks.ts';
import { Service } from '../../src/http/service.ts';
import type { Identified } from '../../src/identity/identity.ts';
import { type IdentityOutcome, KeystoneIdentity } from '../../src/identity/keystone.ts';
import { KeystoneApi } from '../../src/identity/keystone-api.ts';
import { ServiceAccount } from '../../src/identity/service-account.ts';
import { eventually } from '../support/eventually.ts';
import { FakeKeystone } from '../support/fake-keystone.ts';

const cacheTtlMs = 300_000;

describe('what Keystone says of a token', () => {
  let keystone: FakeKeystone;
  let service: Service;
  let identity: KeystoneIdentity;
  let nowMs: number;
  let outcomes: IdentityOutcome[];
  const make = (
    more: { cacheSize?: number; cacheTtlMs?: number; account?: boolean } = {},
  ): KeystoneIdentity => {
    const api = new KeystoneApi(service);
    const credentials = {
      ...{ user: 'sluice', userDomain: 'Default', project: 'service', projectDomain: 'Default' },
      password: 'secret',
    };
    return new KeystoneIdentity(
      api,
      more.account ? new ServiceAccount(api, credentials, ['admin'], () => nowMs) : null,
      {
        cacheTtlMs: more.cacheTtlMs ?? cacheTtlMs,
        cacheSize: more.cacheSize ?? 100,
        authenticateUri: 'http://keystone/v3',
        serviceType: 'image',
        serviceRoles: ['service'],
        serviceTokensFrom: new Networks(['10.0.0.1']),
      },
      (outcome) => outcomes.push(outcome),
      () => nowMs,
    );
  };
  const whoIs = (
    secret: string,
    more: readonly string[] = [],
    peerAddress = '127.0.0.1',
  ): Promise<Identified> =>
    identity.identify({
      headers: ['X-Auth-Token', secret, ...more],
      peerAddress,
      method: 'PUT',
      path: '/v2/images/i/file',
    });
  const refusal = async (asked: Promise<unknown>): Promise<string> => {
    const error = await asked.then(
      () => assert.fail('it was accepted'),
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof GatewayError, String(error));
    return error.code;
  };

  beforeEach(async () => {
    keystone = await FakeKeystone.start();
    service = new Service(new URL(keystone.url), 5_000);
    nowMs = Date.now();
    outcomes = [];
    identity = make();
  });
  afterEach(async () => {
    await service.destroy();
    await keystone.stop();
  });

  it('is asked once, and then believed for cache_ttl, and not a millisecond longer', async () => {
    const secret = keystone.issue({ user: 'ann', project: 'blue', roles: ['member', 'reader'] });
    assert.deepEqual(await whoIs(secret), {
      user: 'ann',
      project: 'blue',
      roles: ['member', 'reader'],
      restricted: false,
    });
    keystone.revoke(secret);
    nowMs += cacheTtlMs - 1;
    assert.equal((await whoIs(secret)).user, 'ann');
    assert.equal(keystone.validations, 1);
    nowMs += 1;
    assert.equal(await refusal(whoIs(secret)), 'token-invalid');
    assert.deepEqual(outcomes, ['valid', 'cached', 'invalid']);
  });

  it('is asked again after cache_ttl for a token that lives on', async () => {
    const secret = keystone.issue({ user: 'ann', project: 'blue' });
    await whoIs(secret);
    nowMs += cacheTtlMs;
    await whoIs(secret);
    assert.equal(keystone.validations, 2);
  });

  it('is never believed past the expiry of the token', async () => {
    const secret = keystone.issue({ user: 'ann', project: 'blue', expiresAtMs: nowMs + 60_000 });
    await whoIs(secret);
    nowMs += 59_999;
    await whoIs(secret);
    nowMs += 1;
    // Keystone, whose clock did not move, would still say yes
    assert.equal(await refusal(whoIs(secret)), 'token-invalid');
  });

  it('is asked every time where cache_ttl is 0', async () => {
    identity = make({ cacheTtlMs: 0 });
    const secret = keystone.issue({ user: 'ann', project: 'blue' });
    await whoIs(secret);
    await whoIs(secret);
    assert.equal(keystone.validations, 2);
  });

  it('is asked once for many requests at once', async () => {
    const secret = keystone.issue({ user: 'ann', project: 'blue' });
    const answers = await Promise.all(Array.from({ length: 50 }, () => whoIs(secret)));
    assert.ok(answers.every(({ user }) => user === 'ann'));
    assert.equal(keystone.validations, 1);
  });

  it('is remembered for as many tokens as cache_size says, the ones used last', async () => {
    identity = make({ cacheSize: 2 });
    const [a, b, c] = ['a', 'b', 'c'].map((user) => keystone.issue({ user, project: 'blue' }));
    for (const secret of [a, b, c]) await whoIs(secret ?? '');
    await whoIs(c ?? '');
    await whoIs(b ?? '');
    assert.equal(keystone.validations, 3);
    await whoIs(a ?? '');
    assert.equal(keystone.validations, 4);
  });

  it('is a no that is remembered for a few seconds only', async () => {
    assert.equal(await refusal(whoIs('made-up')), 'token-invalid');
    assert.equal(await refusal(whoIs('made-up')), 'token-invalid');
    assert.equal(keystone.validations, 1);
    nowMs += 5_000;
    assert.equal(await refusal(whoIs('made-up')), 'token-invalid');
    assert.equal(keystone.validations, 2);
  });

  it('is never guessed: while Keystone is in trouble, known tokens go on and others get 503', async () => {
    const known = keystone.issue({ user: 'ann', project: 'blue' });
    const other = keystone.issue({ user: 'bob', project: 'red' });
    await whoIs(known);
    for (const status of [500, 503, 403, 429]) {
      keystone.trouble = status;
      assert.equal((await whoIs(known)).user, 'ann', String(status));
      assert.equal(await refusal(whoIs(other)), 'identity-unavailable', String(status));
    }
    keystone.recover();
    assert.equal((await whoIs(other)).user, 'bob');
  });

  it('is waited for as long as the timeout says', async () => {
    await service.destroy();
    service = new Service(new URL(keystone.url), 50);
    identity = make();
    keystone.trouble = -1;
    assert.equal(
      await refusal(whoIs(keystone.issue({ user: 'ann', project: 'blue' }))),
      'identity-unavailable',
    );
  });

  it('is asked for at most a thousand tokens at once', async () => {
    keystone.trouble = -1;
    const asked = Array.from({ length: 1_000 }, (_, i) => whoIs(`made-up-${i}`).catch(() => null));
    assert.equal(await refusal(whoIs('one-more')), 'identity-unavailable');
    keystone.recover();
    await Promise.all(asked);
    assert.equal(await refusal(whoIs('one-more')), 'token-invalid');
  });

  for (const [what, headers, code] of [
    ['there is no token', [], 'token-missing'],
    [
      'the token is empty, whatever X-Storage-Token says',
      ['X-Auth-Token', '', 'X-Storage-Token', 'VALID'],
      'token-missing',
    ],
    ['the token stands twice', ['X-Auth-Token', 'VALID', 'X-Auth-Token', 'VALID'], 'header-invalid'],
    ['the token is two in one', ['X-Auth-Token', 'VALID, VALID'], 'token-missing'],
    ['the token is longer than any', ['X-Auth-Token', 'x'.repeat(16_385)], 'token-missing'],
    ['the underscore spells it', ['X_Auth_Token', 'VALID'], 'token-missing'],
  ] as const) {
    it(`is not asked when ${what}`, async () => {
      const secret = keystone.issue({ user: 'ann', project: 'blue' });
      const asked = identity.identify({
        headers: headers.map((text) => text.replaceAll('VALID', secret)),
        peerAddress: '127.0.0.1',
        method: 'PUT',
        path: '/',
      });
      assert.equal(await refusal(asked), code);
      assert.equal(keystone.validations, 0);
    });
  }

  it('is asked about X-Storage-Token where there is no X-Auth-Token', async () => {
    const secret = keystone.issue({ user: 'ann', project: 'blue' });
    const headers = ['X-Storage-Token', ` ${secret} `];
    const who = await identity.identify({ headers, peerAddress: '127.0.0.1', method: 'PUT', path: '/' });
    assert.equal(who.user, 'ann');
  });

  it('names no project for a token of the system', async () => {
    const secret = keystone.issue({ user: 'root', project: null, system: true, roles: ['admin'] });
    assert.deepEqual(await whoIs(secret), {
      user: 'root',
      project: null,
      roles: ['admin'],
      restricted: false,
    });
  });

  it('holds the access rules of an application credential', async () => {
    const rules = (path: string, method = 'PUT', service = 'image') =>
      keystone.issue({ user: 'ann', project: 'blue', accessRules: [{ service, method, path }] });
    for (const path of ['/v2/images/*/file', '/v2/images/{id}/file', '/v2/**', '/v2/images/i/file']) {
      assert.equal((await whoIs(rules(path))).user, 'ann', path);
    }
    for (const secret of [
      rules('/v2/images/*'),
      rules('/v2/images/i/fil.'),
      rules('/v2/**', 'GET'),
      rules('/**', 'PUT', 'volume'),
    ]) {
      assert.equal(await refusal(whoIs(secret)), 'token-invalid');
    }
    // nothing is allowed by a list of nothing
    assert.equal(
      await refusal(whoIs(keystone.issue({ user: 'ann', project: 'blue', accessRules: [] }))),
      'token-invalid',
    );
  });

  describe('with a token of a service', () => {
    let expired: string;
    beforeEach(() => {
      expired = keystone.issue({ user: 'ann', project: 'blue', expiresAtMs: Date.now() - 1_000 });
    });
    const bring = (secret: string): readonly string[] => ['X-Service-Token', secret];

    it('accepts a token that expired on its way', async () => {
      const nova = keystone.issue({ user: 'nova', project: 'service', roles: ['service'] });
      assert.equal((await whoIs(expired, bring(nova), '10.0.0.1')).user, 'ann');
      assert.equal(await refusal(whoIs(expired)), 'token-invalid');
    });

    for (const [what, roles, peer] of [
      ['from a network that is none of the services', ['service'], '127.0.0.1'],
      ['without the role', ['member'], '10.0.0.1'],
    ] as const) {
      it(`does not ${what}`, async () => {
        const secret = keystone.issue({ user: 'eve', project: 'evil', roles });
        assert.equal(await refusal(whoIs(expired, bring(secret), peer)), 'token-invalid');
      });
    }

    it('does not with one that Keystone does not know', async () => {
      assert.equal(await refusal(whoIs(expired, bring('made-up'), '10.0.0.1')), 'token-invalid');
    });
  });

  describe('asked by a service account', () => {
    beforeEach(() => {
      keystone.accounts.set('sluice:secret', ['admin', 'service']);
      identity = make({ account: true });
    });

    it('needs one login for many tokens', async () => {
      const secrets = Array.from({ length: 5 }, (_, i) => keystone.issue({ user: `u${i}`, project: 'blue' }));
      const users = await Promise.all(secrets.map(async (secret) => (await whoIs(secret)).user));
      assert.deepEqual(users, ['u0', 'u1', 'u2', 'u3', 'u4']);
      assert.equal(keystone.logins, 1);
    });

    it('logs in again when its own token was revoked', async () => {
      await whoIs(keystone.issue({ user: 'ann', project: 'blue' }));
      for (const [secret, { user }] of keystone.tokens) if (user === 'sluice') keystone.revoke(secret);
      assert.equal((await whoIs(keystone.issue({ user: 'bob', project: 'blue' }))).user, 'bob');
      assert.equal(keystone.logins, 2);
    });

    it('is a 503, and not a no, when the account cannot log in', async () => {
      keystone.accounts.clear();
      assert.equal(
        await refusal(whoIs(keystone.issue({ user: 'ann', project: 'blue' }))),
        'identity-unavailable',
      );
    });

    it('is a 503, and not a no, when Keystone refuses the account’s tokens, new ones too', async () => {
      keystone.stillborn = true;
      const secret = keystone.issue({ user: 'ann', project: 'blue' });
      assert.equal(await refusal(whoIs(secret)), 'identity-unavailable');
      keystone.stillborn = false;
      assert.equal((await whoIs(secret)).user, 'ann');
    });

    it('is a no about a token that Keystone does not know', async () => {
      assert.equal(await refusal(whoIs('made-up')), 'token-invalid');
    });
  });

  it('tells where to get a token', async () => {
    const error = await whoIs('made-up').catch((thrown: unknown) => thrown);
    assert.ok(error instanceof GatewayError);
    assert.deepEqual(error.headers, ['WWW-Authenticate', 'Keystone uri="http://keystone/v3"']);
    await eventually(() => assert.equal(keystone.validations, 1), 'one question');
  });
});
