import assert from 'node:assert/strict';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { glance } from '../../src/api/glance.ts';
import { defaultConfig, effectiveYaml, loadConfig, parseConfig } from '../../src/config/load.ts';
import type { WrittenOptions } from '../../src/config/options.ts';
import { writeDuration, writeSize } from '../../src/config/scalars.ts';
import { KiB, MiB, parseDuration, parseSize } from '../../src/core/units.ts';
import { loaded, printed, type Scratch, scratch } from './scratch.ts';

describe('values of a configuration', () => {
  let files: Scratch;
  before(() => {
    files = scratch();
  });
  after(() => files.remove());

  it('an empty file is the defaults', () => {
    assert.deepEqual(loaded(files.write('empty.yaml', '')).config, defaultConfig());
    assert.deepEqual(loaded(files.write('comment.yaml', '# nothing\n')).config, defaultConfig());
    assert.deepEqual(loaded(files.write('json.yaml', '{}')).config, defaultConfig());
  });

  it('the defaults are those of the design', () => {
    const config = defaultConfig();
    assert.deepEqual(config.listen, [
      { address: { host: '127.0.0.1', port: 9191 }, tls: null, proxyProtocol: false },
    ]);
    assert.deepEqual(config.admin.address, { host: '127.0.0.1', port: 9190 });
    assert.equal(config.httpKeepalive, true);
    assert.equal(config.clientSocketTimeoutMs, 900_000);
    assert.equal(config.upload.chunkBytes, 4 * MiB);
    assert.equal(config.upload.frameBytes, 4 * MiB);
    assert.equal(config.upload.unknownHoldMs, 3_600_000);
    assert.deepEqual(config.lingering, { timeMs: 30_000, bytes: 64 * MiB });
    assert.equal(config.upstream.servers[0]?.href, 'http://127.0.0.1:9292/');
    assert.equal(config.api, glance);
    assert.deepEqual(config.quota.overrides.size, 0);
    assert.deepEqual(config.quota.limits, [
      { per: 'project', totalBytes: 0, savingBytes: 0, uploads: 0 },
      { per: 'user', totalBytes: 0, savingBytes: 0, uploads: 0 },
    ]);
  });

  const frames: readonly (readonly [WrittenOptions, frameBytes: number, idleTimeoutMs: number])[] = [
    [{}, 4 * MiB, 60_000],
    [{ upstream: { server_kind: 'generic' } }, 4 * MiB, 30_000],
    [{ upstream: { server_kind: 'uwsgi' } }, 512 * KiB, 5_000],
    [{ upstream: { server_kind: 'uwsgi' }, upload: { frame_size: '2MiB' } }, 2 * MiB, 5_000],
    [{ upstream: { server_kind: 'uwsgi' }, upload: { chunk_size: '256KiB' } }, 256 * KiB, 5_000],
    [{ upload: { chunk_size: '64KiB' } }, 64 * KiB, 60_000],
    [{ upload: { chunk_size: '64MiB' } }, 4 * MiB, 60_000],
    [{ upload: { chunk_size: '64MiB', frame_size: '64MiB' } }, 64 * MiB, 60_000],
  ];
  for (const [written, frameBytes, idleTimeoutMs] of frames) {
    it(`the kind of server decides what is not said: ${JSON.stringify(written)}`, () => {
      const { upload, upstream } = defaultConfig(written);
      assert.equal(upload.frameBytes, frameBytes);
      assert.equal(upstream.idleTimeoutMs, idleTimeoutMs);
    });
  }

  const addresses = {
    '127.0.0.1:0': { host: '127.0.0.1', port: 0 },
    'localhost:65535': { host: 'localhost', port: 65_535 },
    '[::1]:9190': { host: '::1', port: 9190 },
    'unix:/run/sluice.sock': { path: '/run/sluice.sock' },
    [`unix:/${'a'.repeat(106)}`]: { path: `/${'a'.repeat(106)}` },
  };
  for (const [written, address] of Object.entries(addresses)) {
    it(`an address is read: ${written}`, () => {
      assert.deepEqual(defaultConfig({ admin: { address: written } }).admin.address, address);
    });
  }

  it('any number of listeners may take a free port', () => {
    const free = { address: '127.0.0.1:0' };
    assert.equal(defaultConfig({ listen: [free, free], admin: free }).listen.length, 2);
  });

  it('names of headers are compared in lower case', () => {
    const { headers } = defaultConfig({ identity: { headers: { user: 'X-Who' } } }).identity;
    assert.equal(headers.user, 'x-who');
    assert.equal(headers.project, 'x-project-id');
  });

  it('overrides are found from the folder of the file, and ids of digits stay text', () => {
    files.write('quotas.yaml', '00012345678901234567: { total: 1KiB }\n1e5: { uploads: 2 }\np: {}');
    const { config } = loaded(files.write('o.yaml', 'quota: { overrides: quotas.yaml }'));
    assert.deepEqual(
      [...config.quota.overrides],
      [
        ['00012345678901234567', { totalBytes: 1024 }],
        ['1e5', { uploads: 2 }],
        ['p', {}],
      ],
    );
  });

  it('nothing in a configuration can be changed', () => {
    files.write('quotas.yaml', 'p: { total: 1 }');
    const { config } = loaded(files.write('o.yaml', 'quota: { overrides: quotas.yaml }'));
    const { overrides } = config.quota;
    const frozen = (value: unknown): boolean =>
      typeof value !== 'object' ||
      value === null ||
      (Object.isFrozen(value) && Object.values(value).every(frozen));
    assert.ok(frozen(config));
    assert.ok(frozen(overrides.get('p')));
    assert.ok(overrides instanceof Map);
    assert.throws(() => overrides.set('q', {}), /frozen/);
    assert.throws(() => overrides.clear(), /frozen/);
    assert.ok(config.api.imageId.test('0c1d2e3f-0000-4000-8000-123456789abc'));
  });

  it('a least rate of no bytes is none', () => {
    assert.equal(defaultConfig({ client_min_rate: { bytes: 0, per: 1 } }).clientMinRate, null);
    assert.deepEqual(
      defaultConfig({ client_min_rate: { bytes: '1KiB', per: '250ms', grace: 0 } }).clientMinRate,
      {
        bytes: 1024,
        perMs: 250,
        graceMs: 0,
      },
    );
  });

  it('defaultConfig says what is wrong with the changes', () => {
    assert.throws(
      () => defaultConfig({ upload: { max_size: -1 } }),
      /^Error: upload\.max_size: expected a size/,
    );
  });

  const effective: readonly WrittenOptions[] = [
    {},
    { listen: [{ address: '[::1]:0' }, { address: 'unix:/a' }], admin: { address: 'h:1' } },
    { client_socket_timeout: 0, client_header_timeout: 0.0125, shutdown_grace: '90s', max_connections: 0 },
    { upstream: { servers: ['http://[::1]:80/'], server_kind: 'uwsgi' }, api: 'api.yaml' },
    { upload: { chunk_size: '5MB', max_size: '10TiB' }, identity: { source: 'none' } },
    {
      client_min_rate: { bytes: '64KiB', per: '250ms', grace: 0 },
      upload: { time_limit: { base: '1.5s', per_gib: '10m' }, preflight: 'expect', continue_wait: '0.25s' },
    },
    {
      max_body: 0,
      import: { locations: 'pass' },
      rate_limits: [{ action: 'any', per: 'address', requests: 5, interval: '90s' }],
    },
    { quota: { mode: 'log', limits: [], overrides: 'quotas.yaml', usage: { source: 'none', ttl: '250ms' } } },
    {
      quota: { limits: [{ per: 'project', total: '1.5GiB', uploads: 7 }] },
      trusted_proxies: ['::1', '10.0.0.0/8'],
    },
  ];
  for (const written of effective) {
    it(`the configuration in effect, written out, loads to the same: ${JSON.stringify(written)}`, () => {
      files.write('quotas.yaml', 'p: { uploads: 1 }');
      files.write(
        'api.yaml',
        'name: a\nroutes: [{ method: PUT, path: "/{image}", action: upload }]\nimage_id: "x+"',
      );
      const first = loaded(files.write('first.yaml', stringify(written)));
      const elsewhere = scratch();
      try {
        const again = loaded(elsewhere.write('again.yaml', effectiveYaml(first.settings)));
        assert.deepEqual(again.config, first.config);
        assert.equal(effectiveYaml(again.settings), effectiveYaml(first.settings));
      } finally {
        elsewhere.remove();
      }
    });
  }

  it('durations and sizes are written so that they are read back', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 31 - 1), fc.maxSafeNat(), (ms, bytes) => {
        assert.equal(parseDuration(writeDuration(ms)), ms);
        assert.equal(parseSize(writeSize(bytes)), bytes);
      }),
    );
    assert.equal(writeDuration(900_000), '15m');
    assert.equal(writeSize(4 * MiB), '4MiB');
  });

  const jargon = /Invalid|Unrecognized|Too (?:big|small)|zod|undefined|\[object/i;
  const judge = (result: ReturnType<typeof parseConfig>) => {
    if (!('errors' in result)) return;
    assert.ok(result.errors.length > 0);
    for (const line of printed(result.errors)) {
      if (!line.includes('not valid YAML'))
        assert.doesNotMatch(line.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""'), jargon);
    }
  };
  const known = fc.constantFrom(
    ...[
      'listen',
      'admin',
      'address',
      'upload',
      'chunk_size',
      'quota',
      'limits',
      'per',
      'total',
      'api',
      'log',
    ],
    ...['upstream', 'servers', 'health', 'identity', 'headers', 'overrides', 'usage', 'source', '__proto__'],
  );
  const { value: anyValue } = fc.letrec((again) => ({
    value: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      fc.constantFrom<unknown>(
        'project',
        'user',
        'none',
        'redis',
        '4MiB',
        '1s',
        'h:1',
        'http://h',
        './x.yaml',
        '',
        0,
        1,
        -1,
      ),
      fc.anything(),
      fc.array(again('value'), { maxLength: 3 }),
      fc.dictionary(known, again('value'), { maxKeys: 5 }),
    ),
  }));

  it('any value is a configuration or errors, never an exception', () => {
    fc.assert(
      fc.property(anyValue, (value) => judge(parseConfig(value, files.folder))),
      { numRuns: 300 },
    );
  });

  it('any text is a configuration or errors, never an exception', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom(...'a1:-[]{},&*!|>#"\'? \n\t%'.split(''), 'log', 'api') }),
      fc.dictionary(known, fc.jsonValue()).map((value) => stringify(value)),
    );
    fc.assert(
      fc.property(text, (yaml) => judge(loadConfig(files.write('any.yaml', yaml)))),
      { numRuns: 200 },
    );
  });
});
