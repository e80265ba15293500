import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { effectiveYaml } from '../../src/config/load.ts';
import { complaints, loaded, type Scratch, scratch } from './scratch.ts';

const durationExpected = 'expected a duration (seconds, or 250ms 30s 15m 2h; at most 596h)';
const sizeExpected = 'expected a size (bytes, or 64KiB 4MiB 10GiB 4MB)';
const addressExpected = 'expected "HOST:PORT", "[IPV6]:PORT" or "unix:/PATH"';
const networkExpected = 'expected an address or a network, e.g. 10.0.0.0/8 or ::1, or unix';

/** What is written, and what is said about it: `line:column: message`. */
type Case = readonly [yaml: string, ...said: string[]];

const cases: Readonly<Record<string, readonly Case[]>> = {
  'an unknown key is shown with the one that was meant': [
    ['htp_keepalive: true', '1:1: unknown key "htp_keepalive"; did you mean "http_keepalive"?'],
    ['http-keepalive: true', '1:1: unknown key "http-keepalive"; did you mean "http_keepalive"?'],
    ['httpKeepalive: true', '1:1: unknown key "httpKeepalive"; did you mean "http_keepalive"?'],
    ['chunk_size: 4MiB', '1:1: unknown key "chunk_size"; did you mean "upload.chunk_size"?'],
    ['upload:\n  chunk_sise: 4MiB', '2:3: upload: unknown key "chunk_sise"; did you mean "chunk_size"?'],
    ['upload: { servers: [] }', '1:11: upload: unknown key "servers"; did you mean "upstream.servers"?'],
    // neighbours that changed places are one slip
    ['uplaod: {}', '1:1: unknown key "uplaod"; did you mean "upload"?'],
    ['qouta: {}', '1:1: unknown key "qouta"; did you mean "quota"?'],
    ['lgo: {}', '1:1: unknown key "lgo"; did you mean "log"?'],
    // two slips in a short word are another word
    ['uplaodd: {}', '1:1: unknown key "uplaodd"'],
    ['amdni: {}', '1:1: unknown key "amdni"'],
    ['gol: {}', '1:1: unknown key "gol"'],
    // several mappings have a `timeout`, so none of them is proposed
    ['timeout: 5', '1:1: unknown key "timeout"'],
    ['limits: []', '1:1: unknown key "limits"; did you mean "quota.limits"?'],
    ['upload: { log: {} }', '1:11: upload: unknown key "log"; did you mean "log" at the top?'],
    ['banana: 1', '1:1: unknown key "banana"'],
    ['"": 1', '1:1: unknown key ""'],
    ['__proto__: { x: 1 }', '1:1: unknown key "__proto__"'],
    ['constructor: 1', '1:1: unknown key "constructor"'],
    [
      'quota:\n  limits:\n    - per: user\n      upload: 3',
      '4:7: quota.limits[0]: unknown key "upload"; did you mean "uploads"?',
    ],
  ],
  'a value of the wrong type is shown at its place': [
    ['http_keepalive: "no"', '1:17: http_keepalive: expected true or false, got "no"'],
    ['http_keepalive: no', '1:17: http_keepalive: expected true or false, got "no"'],
    ['http_keepalive: 1', '1:17: http_keepalive: expected true or false, got 1'],
    ['admin: 9190', '1:8: admin: expected a mapping, got 9190'],
    ['admin:', '1:1: admin: expected a mapping, got nothing'],
    ['listen: "127.0.0.1:9191"', '1:9: listen: expected a list, got "127.0.0.1:9191"'],
    ['listen: []', '1:9: listen: expected at least one listener, got an empty list'],
    [
      'listen:\n- adress: "a:1"',
      `2:3: listen[0].address: missing; ${addressExpected}`,
      '2:3: listen[0]: unknown key "adress"; did you mean "address"?',
    ],
    ['- a', '1:1: expected a mapping, got a list'],
    ['just text', '1:1: expected a mapping, got "just text"'],
    ['trusted_proxies: { a: b }', '1:18: trusted_proxies: expected a list, got a mapping'],
    ['max_connections: -1', '1:18: max_connections: expected a whole number of 0 or more, got -1'],
    ['max_connections: 1.5', '1:18: max_connections: expected a whole number of 0 or more, got 1.5'],
    ['max_connections: many', '1:18: max_connections: expected a whole number of 0 or more, got "many"'],
    [
      'log: { level: warning }',
      '1:15: log.level: expected one of fatal, error, warn, info, debug, trace, got "warning"',
    ],
    [
      'log: { level: infos }',
      '1:15: log.level: expected one of fatal, error, warn, info, debug, trace, got "infos"; did you mean "info"?',
    ],
    [
      'upstream: { server_kind: uwgsi }',
      '1:26: upstream.server_kind: expected one of eventlet, uwsgi, generic, got "uwgsi"; did you mean "uwsgi"?',
    ],
    [
      'identity: { headers: { user: "X User" } }',
      '1:30: identity.headers.user: expected the name of a header, got "X User"',
    ],
    [
      'upstream: { health: { path: healthcheck } }',
      '1:29: upstream.health.path: expected path, got "healthcheck"',
    ],
    [
      'upstream: { health: { unhealthy_after: 0 } }',
      '1:40: upstream.health.unhealthy_after: expected a whole number of 1 or more, got 0',
    ],
    [
      'identity: { keystone: { url: "ftp://k" } }',
      '1:30: identity.keystone.url: expected the address of a service, e.g. "http://127.0.0.1:5000/v3", got "ftp://k"',
    ],
  ],
  'a duration is seconds or has a unit': [
    ['client_socket_timeout: -5', `1:24: client_socket_timeout: ${durationExpected}, got -5`],
    ['client_socket_timeout: 5 days', `1:24: client_socket_timeout: ${durationExpected}, got "5 days"`],
    ['client_socket_timeout: .inf', `1:24: client_socket_timeout: ${durationExpected}, got Infinity`],
    ['client_socket_timeout: .nan', `1:24: client_socket_timeout: ${durationExpected}, got NaN`],
    ['client_socket_timeout: true', `1:24: client_socket_timeout: ${durationExpected}, got true`],
    ['client_socket_timeout: [5]', `1:24: client_socket_timeout: ${durationExpected}, got a list`],
    ['client_socket_timeout: 597h', `1:24: client_socket_timeout: ${durationExpected}, got "597h"`],
    [
      'upstream: { health: { timeout: 0 } }',
      `1:32: upstream.health.timeout: ${durationExpected.replace('duration', 'duration above 0')}, got 0`,
    ],
  ],
  'a size is bytes or has a unit': [
    ['upload: { max_size: 4 mib }', `1:21: upload.max_size: ${sizeExpected}, got "4 mib"`],
    ['upload: { max_size: -1 }', `1:21: upload.max_size: ${sizeExpected}, got -1`],
    ['upload: { max_size: 0.5 }', `1:21: upload.max_size: ${sizeExpected}, got 0.5`],
    ['upload: { chunk_size: 64MB }'],
    [
      'upload: { chunk_size: 65535 }',
      '1:23: upload.chunk_size: expected a size from 64KiB to 64MiB (bytes, or 64KiB 4MiB 10GiB 4MB), got 65535',
    ],
    [
      'upload: { chunk_size: 67108865 }',
      '1:23: upload.chunk_size: expected a size from 64KiB to 64MiB (bytes, or 64KiB 4MiB 10GiB 4MB), got 67108865',
    ],
    [
      'upload: { frame_size: 1023 }',
      '1:23: upload.frame_size: expected a size from 1KiB to 64MiB (bytes, or 64KiB 4MiB 10GiB 4MB), got 1023',
    ],
  ],
  'an address is a host with a port, or a unix socket': [
    ['admin: { address: "127.0.0.1" }', `1:19: admin.address: ${addressExpected}, got "127.0.0.1"`],
    ['admin: { address: ":9190" }', `1:19: admin.address: ${addressExpected}, got ":9190"`],
    ['admin: { address: 9190 }', `1:19: admin.address: ${addressExpected}, got 9190`],
    ['admin: { address: "::1:9190" }', `1:19: admin.address: ${addressExpected}, got "::1:9190"`],
    [
      'admin: { address: "[127.0.0.1]:9190" }',
      `1:19: admin.address: ${addressExpected}, got "[127.0.0.1]:9190"`,
    ],
    ['admin: { address: "300.0.0.1:1" }', `1:19: admin.address: ${addressExpected}, got "300.0.0.1:1"`],
    ['admin: { address: "a b:1" }', `1:19: admin.address: ${addressExpected}, got "a b:1"`],
    ['admin: { address: "h:65536" }', '1:19: admin.address: expected a port from 0 to 65535, got "h:65536"'],
    [
      'admin: { address: "unix:run/a" }',
      `1:19: admin.address: ${addressExpected} with a path from the root, got "unix:run/a"`,
    ],
    [
      `admin: { address: "unix:/${'a'.repeat(107)}" }`,
      '1:19: admin.address: the path of a unix socket has at most 107 bytes',
    ],
    [
      'listen: [{ address: "h:1" }, { address: "h:1" }]',
      '1:41: listen[1].address: h:1 is already that of listen[0].address',
    ],
    [
      'admin: { address: "127.0.0.1:9191" }',
      '1:19: admin.address: 127.0.0.1:9191 is already that of listen[0].address',
    ],
  ],
  'a network is an address with or without a prefix length': [
    ['trusted_proxies: [10.0.0.0/33]', `1:19: trusted_proxies[0]: ${networkExpected}, got "10.0.0.0/33"`],
    ['trusted_proxies: ["::/129"]', `1:19: trusted_proxies[0]: ${networkExpected}, got "::/129"`],
    ['trusted_proxies: [10.0.0.1, proxy]', `1:29: trusted_proxies[1]: ${networkExpected}, got "proxy"`],
    ['trusted_proxies: [10.0.0.0/]', `1:19: trusted_proxies[0]: ${networkExpected}, got "10.0.0.0/"`],
    [
      'identity: { headers: { trusted_from: [127.0.0/8] } }',
      `1:39: identity.headers.trusted_from[0]: ${networkExpected}, got "127.0.0/8"`,
    ],
  ],
  'an upstream server is one origin over http': [
    ['upstream: { servers: [] }', '1:22: upstream.servers: expected at least one server, got an empty list'],
    [
      'upstream: { servers: ["h:9292"] }',
      '1:23: upstream.servers[0]: expected "http://HOST:PORT", got "h:9292"',
    ],
    [
      'upstream: { servers: ["http://"] }',
      '1:23: upstream.servers[0]: expected "http://HOST:PORT", got "http://"',
    ],
    [
      'upstream: { servers: ["http://h:99999"] }',
      '1:23: upstream.servers[0]: expected "http://HOST:PORT", got "http://h:99999"',
    ],
    [
      'upstream: { servers: ["http://h:0"] }',
      '1:23: upstream.servers[0]: expected a port from 1 to 65535, got "http://h:0"',
    ],
    [
      'upstream: { servers: ["http://h/v2"] }',
      '1:23: upstream.servers[0]: expected "http://HOST:PORT" with no path, query or fragment, got "http://h/v2"',
    ],
    [
      'upstream: { servers: ["http://h?a"] }',
      '1:23: upstream.servers[0]: expected "http://HOST:PORT" with no path, query or fragment, got "http://h?a"',
    ],
    [
      'upstream: { servers: ["http://u:secret@h"] }',
      '1:23: upstream.servers[0]: a server has no user or password in its address',
    ],
    [
      'upstream: { servers: ["ftp://u:secret@h"] }',
      '1:23: upstream.servers[0]: expected "http://HOST:PORT", got "ftp://***@h"',
    ],
  ],
  'a total needs projects': [
    [
      'identity: { source: none }\nquota: { limits: [{ per: project, total: 1 }] }',
      '2:42: quota.limits[0].total: with identity.source none there is no project whose stored bytes could be read, so a total cannot be kept',
    ],
  ],
  'limits of the cloud need somebody to ask': [
    [
      'quota: { cloud_limits: { source: keystone } }',
      '1:34: quota.cloud_limits.source: keystone needs identity.keystone.service_account to ask with',
    ],
    [
      'identity: { source: none }\nquota: { cloud_limits: { source: usage } }',
      '2:34: quota.cloud_limits.source: usage tells the limits of a project, and with identity.source none there is none',
    ],
    [
      'quota: { usage: { source: none }, cloud_limits: { source: usage } }',
      '1:59: quota.cloud_limits.source: with quota.usage.source none nothing says what is stored, so a total cannot be kept',
    ],
  ],
  'a feature that is not built yet is refused where it is set': [
    ['ledger: { type: redis }', '1:17: ledger.type: redis is not built yet'],
    ['ledger: { url: "redis://h" }', '1:16: ledger.url: redis is not built yet'],
    [
      'ledger:\n  key_prefix: a\n  lease: 30s',
      '2:15: ledger.key_prefix: redis is not built yet',
      '3:10: ledger.lease: redis is not built yet',
    ],
    [
      'upstream: { servers: ["https://a"] }',
      '1:23: upstream.servers[0]: https to the upstream is not built yet',
    ],
  ],
  'keys that do not go together are refused': [
    [
      'upstream: { servers: ["http://a", "http://b", "HTTP://A:80/"] }',
      '1:47: upstream.servers[2]: http://a is already upstream.servers[0]',
    ],
    [
      'listen: [{ address: "h:1", proxy_protocol: true }]',
      '1:44: listen[0].proxy_protocol: needs the networks of the balancers in trusted_proxies: nobody else may send a PROXY header',
    ],
    [
      'listen: [{ address: "h:1", proxy_protocol: true }]\ntrusted_proxies: [unix]',
      '1:44: listen[0].proxy_protocol: needs the networks of the balancers in trusted_proxies: nobody else may send a PROXY header',
    ],
    [
      'listen: [{ address: "unix:/s", proxy_protocol: true }]\ntrusted_proxies: ["10.0.0.1"]',
      '1:48: listen[0].proxy_protocol: needs `unix` in trusted_proxies: nobody else may send a PROXY header',
    ],
    [
      'upload: { chunk_size: 1MiB, frame_size: 2MiB }',
      '1:41: upload.frame_size: 2MiB is above chunk_size, which is 1MiB',
    ],
    [
      'upload: { chunk_size: 65536, frame_size: 65537 }',
      '1:42: upload.frame_size: 65537 is above chunk_size, which is 64KiB',
    ],
    ['upload: { chunk_size: 65536, frame_size: 65536 }'],
    [
      'upload: { time_limit: { per_gib: 1ms } }',
      '1:34: upload.time_limit.per_gib: needs base above 0: without it a body of no bytes has no time',
    ],
    ['upload: { time_limit: { base: 1ms, per_gib: 1ms } }'],
    ['upload: { preflight: request }'],
    [
      'quota: { limits: [{ per: user, total: 1 }] }',
      '1:39: quota.limits[0].total: stored bytes are read by project, so `per: user` has no total; use saving or uploads',
    ],
    ['quota: { limits: [{ per: user, total: 0 }] }'],
    [
      'quota: { limits: [{ per: project, total: 1 }], usage: { source: none } }',
      '1:42: quota.limits[0].total: with quota.usage.source none nothing says what is stored, so a total cannot be kept',
    ],
    ['quota: { limits: [{ per: project, total: 0 }], usage: { source: none } }'],
    [
      'quota: { limits: [{ per: user }, { per: user }] }',
      '1:41: quota.limits[1].per: a second entry for user: put all in one',
    ],
    [
      'identity: { headers: { user: X-Id, project: x-id } }',
      '1:45: identity.headers.project: "x-id" already names the user',
    ],
  ],
  'a limit of requests says what it limits, once': [
    ['rate_limits: [{ action: create, per: project, requests: 100, interval: 60s }]'],
    ['rate_limits: [{ action: any, per: address, requests: 1, interval: 1ms }]'],
    [
      'rate_limits: [{ action: creat, per: project, requests: 1, interval: 1s }]',
      '1:25: rate_limits[0].action: expected one of any, upload, stage, import, update, locations, task, change, delete, download, create, pass, got "creat"; did you mean "create"?',
    ],
    [
      'rate_limits: [{ action: forbid, per: users, requests: 0, interval: 0 }]',
      '1:25: rate_limits[0].action: expected one of any, upload, stage, import, update, locations, task, change, delete, download, create, pass, got "forbid"',
      '1:38: rate_limits[0].per: expected one of project, user, address, got "users"; did you mean "user"?',
      '1:55: rate_limits[0].requests: expected a whole number of 1 or more, got 0',
      `1:68: rate_limits[0].interval: ${durationExpected.replace('duration', 'duration above 0')}, got 0`,
    ],
    [
      'rate_limits:\n- { action: any, per: user, requests: 1, interval: 1s }\n- { action: any, per: user, requests: 9, interval: 1000ms }',
      '3:3: rate_limits[1]: limits what rate_limits[0] limits, in the same interval',
    ],
    [
      'rate_limits:\n- { action: any, per: user, requests: 1, interval: 1s }\n- { action: any, per: user, requests: 9, interval: 60s }',
    ],
  ],
  'nothing is said of keys that depend on one that is wrong': [
    [
      'upload: { chunk_size: 1, frame_size: 8MiB }',
      '1:23: upload.chunk_size: expected a size from 64KiB to 64MiB (bytes, or 64KiB 4MiB 10GiB 4MB), got 1',
    ],
    [
      'quota: { limits: [{ per: usr, total: 1 }], usage: { source: no } }',
      '1:26: quota.limits[0].per: expected one of project, user, got "usr"; did you mean "user"?',
      '1:61: quota.usage.source: expected one of glance, none, got "no"',
    ],
  ],
  'a limit says whose it is': [
    [
      'quota: { limits: [{ total: 1 }] }',
      '1:19: quota.limits[0].per: missing; expected one of project, user',
    ],
  ],
  'all errors are told at once, in the order of the file': [
    [
      'upload:\n  frame_size: 8MiB\nlog: { level: loud }\nnonsense: 1\nledger: { type: redis }\nhttp_keepalive: perhaps',
      '2:15: upload.frame_size: 8MiB is above chunk_size, which is 4MiB',
      '3:15: log.level: expected one of fatal, error, warn, info, debug, trace, got "loud"',
      '4:1: unknown key "nonsense"',
      '5:17: ledger.type: redis is not built yet',
      '6:17: http_keepalive: expected true or false, got "perhaps"',
    ],
  ],
  'a file that is not YAML is shown where it stops being it': [
    ['a: b: c', '1:4: not valid YAML: Nested mappings are not allowed in compact mappings'],
    [
      'log: { level: info',
      '1:19: not valid YAML: Flow map in block collection must be sufficiently indented and end with a }',
    ],
    ['log:\n\tlevel: info', '2:1: not valid YAML: Tabs are not allowed as indentation'],
    [
      'a: 1\n---\nb: 1',
      '2:1: not valid YAML: Source contains multiple documents; please use YAML.parseAllDocuments()',
    ],
    ['log: !loud { level: info }', '1:6: not valid YAML: Unresolved tag: !loud'],
    ['log: *nothing', '1:6: not valid YAML: *nothing stands for nothing: no &nothing comes before it'],
    ['? [a, b]\n: 1', '1:3: a key must be plain text'],
    [
      'http_keepalive: true\nlog: {}\nhttp_keepalive: false',
      '3:1: key "http_keepalive" stands twice; first on line 1',
    ],
    ['log: { level: info, level: warn }', '1:21: key "level" stands twice; first on line 1'],
    ['1: a\n"1": b', '2:1: key "1" stands twice; first on line 1'],
    ['['.repeat(4_000), '1:1: not valid YAML: nested too deeply'],
  ],
  'an alias stands for what it names': [
    [
      'client_header_timeout: &t -1\nclient_socket_timeout: *t',
      `1:27: client_header_timeout: ${durationExpected}, got -1`,
      `2:24: client_socket_timeout: ${durationExpected}, got -1`,
    ],
    [
      'upstream: { health: &h { path: / } }\nlog: *h',
      '1:26: log: unknown key "path"; did you mean "upstream.health.path"?',
    ],
  ],
  'a profile is built in or a file': [
    [
      'api: Glance',
      '1:6: api: no built-in profile is called "Glance"; did you mean "glance"? (the path of a profile file has a "/" or ends in .yaml)',
    ],
    [
      'api: swift',
      '1:6: api: no built-in profile is called "swift" (the path of a profile file has a "/" or ends in .yaml)',
    ],
    ['api: gone.yaml', '1:6: api: gone.yaml cannot be read: no such file (ENOENT)'],
    ['api: ""', '1:6: api: expected profile, got ""'],
  ],
  'an overrides file that is named must be there': [
    [
      'quota:\n  overrides: gone.yaml',
      '2:14: quota.overrides: gone.yaml cannot be read: no such file (ENOENT)',
    ],
    ['quota: { overrides: 5 }', '1:21: quota.overrides: expected the path of a file, or "" for none, got 5'],
  ],
};

describe('errors of a configuration file', () => {
  let files: Scratch;
  before(() => {
    files = scratch();
  });
  after(() => files.remove());

  for (const [promise, table] of Object.entries(cases)) {
    describe(promise, () => {
      for (const [yaml, ...said] of table) {
        it(yaml.length > 100 ? `${yaml.slice(0, 100)}...` : yaml.replaceAll('\n', ' / '), () => {
          assert.deepEqual(
            complaints(files.write('sluice.yaml', yaml)),
            said.map((each) => `sluice.yaml:${each}`),
          );
        });
      }
    });
  }

  it('a file that cannot be read is one line', () => {
    assert.deepEqual(complaints(`${files.folder}/absent.yaml`), [
      'absent.yaml:1:1: cannot be read: no such file (ENOENT)',
    ]);
    const [line] = complaints(files.folder);
    assert.match(line ?? '', /:1:1: cannot be read: it is a directory \(EISDIR\)$/);
    const latin1 = files.write('latin1.yaml', Uint8Array.of(0x23, 0xe9));
    assert.deepEqual(complaints(latin1), ['latin1.yaml:1:1: cannot be read: it is not UTF-8 text']);
  });

  it('the password of the service account stands in a file of its own, which must be there and not be empty', () => {
    const account = (file: string): string =>
      `identity: { keystone: { service_account: { user: u, project: p, password_file: ${file} } } }`;
    assert.deepEqual(complaints(files.write('account.yaml', account('gone'))), [
      'account.yaml:1:80: identity.keystone.service_account.password_file: gone cannot be read: no such file (ENOENT)',
    ]);
    files.write('password', '\n');
    assert.deepEqual(complaints(files.write('account.yaml', account('password'))), [
      'account.yaml:1:80: identity.keystone.service_account.password_file: password is empty',
    ]);
    files.write('password', ' with a space \n');
    const { config, settings } = loaded(files.write('account.yaml', account('password')));
    assert.equal(config.identity.keystone.serviceAccount?.password, ' with a space ');
    assert.ok(
      !effectiveYaml(settings).includes('with a space'),
      'the configuration in effect shows the password',
    );
  });

  it('a file without permission is one line', function () {
    if (process.getuid?.() === 0) this.skip();
    const file = files.write('secret.yaml', '');
    chmodSync(file, 0);
    assert.deepEqual(complaints(file), ['secret.yaml:1:1: cannot be read: permission denied (EACCES)']);
  });

  it('what is wrong in an overrides file carries the name of that file', () => {
    files.write('quotas.yaml', 'p1: { total: 1GiB, savings: 1 }\np2: { uploads: -1 }\np3:\np4: 5');
    const file = files.write(
      'with-overrides.yaml',
      'quota: { overrides: quotas.yaml }\nlog: { acces: true }',
    );
    assert.deepEqual(complaints(file), [
      'with-overrides.yaml:2:8: log: unknown key "acces"; did you mean "access"?',
      'quotas.yaml:1:20: p1: unknown key "savings"; did you mean "saving"?',
      'quotas.yaml:2:16: p2.uploads: expected a whole number of 0 or more, got -1',
      'quotas.yaml:3:1: p3: expected a mapping, got nothing',
      'quotas.yaml:4:5: p4: expected a mapping, got 5',
    ]);
    files.write('quotas.yaml', 'p1: { total: 0 }\np2: { total: 1 }');
    const none = files.write('none.yaml', 'quota: { overrides: quotas.yaml, usage: { source: none } }');
    assert.deepEqual(complaints(none), [
      'quotas.yaml:2:14: p2.total: with quota.usage.source none nothing says what is stored, so a total cannot be kept',
    ]);
    files.write('quotas.yaml', 'p1: {');
    assert.match(complaints(file)[1] ?? '', /^quotas\.yaml:1:6: not valid YAML: /);
  });
});
