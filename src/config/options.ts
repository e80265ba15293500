import { z } from 'zod';
import { actions } from '../core/profile.ts';
import { namePattern } from '../core/server-name.ts';
import { defaultChunkBytes, KiB, MiB } from '../core/units.ts';
import {
  address,
  choice,
  count,
  duration,
  flag,
  headerName,
  list,
  mapping,
  network,
  origin,
  scalarFacts,
  size,
  text,
  webAddress,
} from './scalars.ts';

// The one table of the configuration: key, type, default as people write it, and one sentence. The parser,
// config/sluice.schema.json, docs/configuration.md and the help text all come from it.
// A feature that is not built yet is refused where it is set: nobody may believe in a limit that is not kept.

/** A key with its default. */
const option = <Value extends z.ZodType>(value: Value, written: z.input<Value>, sentence: string) =>
  z.prefault(value, written).describe(sentence);

/** A key that nothing stands in for when it is left out. */
const optional = <Value extends z.ZodType>(value: Value, sentence: string) =>
  z.optional(value).describe(sentence);

/** A key of a feature to come: its shape is known, its use is refused. */
const later = <Value extends z.ZodType>(value: Value, feature: string, sentence: string) =>
  optional(
    value.refine((set) => set === undefined, { error: `${feature} is not built yet` }),
    `${sentence} Not built yet.`,
  );

const listener = mapping({
  address: address().describe('`HOST:PORT`, `[IPV6]:PORT` or `unix:/PATH`; port 0 takes any free one.'),
  tls: optional(
    mapping({
      cert: text('path').describe(
        'File with the certificate and its chain, in PEM; shown where no other certificate fits the name asked for.',
      ),
      key: text('path').describe('File with its private key, in PEM, without a password.'),
      certificates: option(
        list(
          mapping({
            cert: text('path').describe('File with the certificate and its chain, in PEM.'),
            key: text('path').describe('File with its private key, in PEM, without a password.'),
            names: option(
              list(text('the name of a host or *.NAME', namePattern)),
              [],
              'Names that clients ask for; empty: those that stand in the certificate.',
            ),
          }),
        ),
        [],
        'More certificates, chosen by the name that the client asks for (SNI).',
      ),
      client_ca: optional(
        text('path'),
        'File with the authorities, in PEM, of which one has to have signed the certificate that each client then must have.',
      ),
      min_version: option(
        choice(['TLSv1.2', 'TLSv1.3']),
        'TLSv1.2',
        'The oldest version of TLS that is spoken.',
      ),
    }),
    'Serves HTTPS. The files are read again on SIGHUP, also where this file is unchanged.',
  ),
  proxy_protocol: option(
    flag(),
    false,
    'Each connection begins with a PROXY header (v1 or v2), which says whose it is. Only those of `trusted_proxies` may connect.',
  ),
});

const perAccount = {
  total: option(
    size(),
    0,
    'Stored and saving bytes; 0 = no limit. Only `per: project`: the API reads stored bytes by project.',
  ),
  saving: option(size(), 0, 'Bytes in flight; 0 = no limit.'),
  uploads: option(count(), 0, 'Uploads at once; 0 = no limit.'),
};

/** What becomes of data that goes round the gateway. */
const importRule = (written: 'pass' | 'unless-limited' | 'refuse', sentence: string) =>
  option(choice(['pass', 'unless-limited', 'refuse']), written, sentence);

export const serverKinds = ['eventlet', 'uwsgi', 'generic'] as const;

/**
 * What fits the server behind us. uWSGI refuses a chunk that does not fit in its `chunked-input-limit`
 * (1 MiB) together with what it has buffered, and drops an idle connection after its `socket-timeout`
 * (10 s in Glance's documented file), so ours must end before. Glance's eventlet server has no limit of
 * a chunk and keeps connections for `client_socket_timeout` (900 s).
 */
export const serverKindDefaults: Readonly<
  Record<(typeof serverKinds)[number], { readonly frameBytes: number; readonly idleTimeoutMs: number }>
> = {
  eventlet: { frameBytes: defaultChunkBytes, idleTimeoutMs: 60_000 },
  uwsgi: { frameBytes: 512 * KiB, idleTimeoutMs: 5_000 },
  generic: { frameBytes: defaultChunkBytes, idleTimeoutMs: 30_000 },
};

/** The file as a whole. Its input is what people write; its output has milliseconds and bytes. */
export const options = mapping({
  listen: option(
    list(listener, 'listener'),
    [{ address: '127.0.0.1:9191' }],
    'Where clients are served, one entry for each listener.',
  ),
  admin: option(
    mapping({
      address: option(
        address(),
        '127.0.0.1:9190',
        'Where operators are served: health, metrics, running uploads.',
      ),
    }),
    {},
    'The listener for operators. Whoever reaches it may cancel uploads: never the network of the clients.',
  ),
  http_keepalive: option(
    flag(),
    true,
    'False: every answer says `Connection: close` and the connection ends (Glance’s option of this name).',
  ),
  client_socket_timeout: option(
    duration(),
    900,
    'How long one operation on the socket of a client may take; any byte starts it anew; 0 = for ever ' +
      '(Glance’s option of this name).',
  ),
  client_header_timeout: option(
    duration(),
    60,
    'How long the whole head of a request may take; 0 = for ever.',
  ),
  client_min_rate: option(
    mapping({
      bytes: option(size(), 0, 'Bytes that a client must send in each `per`; 0 = off.'),
      per: option(duration({ min: 1 }), '60s', 'The time in which each further `bytes` must arrive.'),
      grace: option(duration(), '60s', 'How long after its start an upload is not yet judged.'),
    }),
    {},
    'The least rate of an upload. Time in which the gateway itself held the client back does not count, in `grace` neither.',
  ),
  max_connections: option(
    count(),
    10_000,
    'Connections of clients at once, over all listeners; 0 = no limit.',
  ),
  max_uploads: option(
    count(),
    5_000,
    'Uploads at once in this process; one more is answered 503; 0 = no limit. Each needs two descriptors. Below ' +
      '`max_connections`, so that stuck uploads leave room for deletes.',
  ),
  max_buffered: option(
    size(),
    '1GiB',
    'Bytes of bodies in memory at once. At the bound what is new is answered 503, and running uploads hold less; 0 = no limit.',
  ),
  max_body: option(
    size(),
    '1MiB',
    'The largest body of a request that is no upload; 0 = no limit. What the gateway has to read itself ' +
      '(`import`) is then held to 1MiB.',
  ),
  lingering: option(
    mapping({
      time: option(duration(), '30s', 'The longest that a refused body is read; 0 = no limit.'),
      bytes: option(size(), '64MiB', 'The most that is read of a refused body; 0 = no limit.'),
    }),
    {},
    'How long and how much of a refused body is read and thrown away so that the client can read the answer.',
  ),
  trusted_proxies: option(
    list(network()),
    [],
    'Networks of proxies whose `X-Forwarded-For`, `-Proto`, `-Host` and `Forwarded` are believed (headers.md); `unix`: ' +
      'those of unix sockets. Such a proxy must overwrite or append to all the fields of these that its clients may send.',
  ),
  shutdown_grace: option(
    duration(),
    300,
    'How long running uploads may go on after SIGTERM; 0 = until they end.',
  ),
  api: option(
    text('profile'),
    'glance',
    'What requests mean: the built-in profile `glance`, or the path of a profile file (from this file’s folder).',
  ),
  upstream: option(
    mapping({
      servers: option(
        list(origin(), 'server'),
        ['http://127.0.0.1:9292'],
        'The servers of the API, each once, over http: https is not built yet.',
      ),
      server_kind: option(
        choice(serverKinds),
        'eventlet',
        'What serves the API. Sets the default of `upload.frame_size` and how long an unused connection is kept: ' +
          `${serverKinds.map((kind) => `${kind} ${serverKindDefaults[kind].idleTimeoutMs / 1000}s`).join(', ')}.`,
      ),
      connect_timeout: option(
        duration(),
        5,
        'How long a connection to one server may take to be made; 0 = for ever.',
      ),
      response_timeout: option(
        duration(),
        600,
        'The time from the last byte of the request to the head of the answer; 0 = for ever.',
      ),
      health: option(
        mapping({
          path: option(
            text('path', /^\/[^\s?#\0]*$/),
            '/healthcheck',
            'What is asked for; a 2xx answer means healthy.',
          ),
          interval: option(duration(), '5s', 'How often a server is asked; 0 = never.'),
          timeout: option(duration({ min: 1 }), '2s', 'How long the answer may take.'),
          unhealthy_after: option(
            count({ min: 1 }),
            3,
            'Failures in a row after which a server is unhealthy.',
          ),
          healthy_after: option(count({ min: 1 }), 1, 'Successes in a row after which it is healthy again.'),
          eject_after: option(
            count(),
            3,
            'Requests in a row without a connection or an answer, each within `eject_time` of the one before, after which ' +
              'a server is not chosen any more; 0 = never. The only server is never ejected.',
          ),
          eject_time: option(
            duration({ min: 1 }),
            '10s',
            'How long an ejected server is not chosen, unless a check finds it well before.',
          ),
        }),
        {},
        'How the servers are watched.',
      ),
    }),
    {},
    'The API behind the gateway.',
  ),
  upload: option(
    mapping({
      chunk_size: option(
        size({ min: 64 * KiB, max: 64 * MiB }),
        '4MiB',
        'The unit in which an upload is held in memory, reserved, timed and reported.',
      ),
      frame_size: optional(
        size({ min: KiB, max: 64 * MiB }),
        'The largest HTTP/1.1 chunk sent upstream when the length is unknown; never above `chunk_size`.',
      ).register(scalarFacts, {
        type: 'size from 1KiB to `upload.chunk_size`',
        defaultText: 'by `upstream.server_kind`: 512KiB for uwsgi, else 4MiB; `chunk_size` if that is less',
      }),
      flush_after: option(
        duration(),
        '1s',
        'A part-filled chunk is sent on after this long, and within a tenth of it where the client falls silent: bytes are never held ' +
          'to fill a chunk; 0 = at once.',
      ),
      chunk_timeout: option(
        duration(),
        60,
        'How long the upstream may take to accept each chunk; 0 = for ever.',
      ),
      time_limit: option(
        mapping({
          base: option(duration(), 0, 'For any body; needed where `per_gib` is set.'),
          per_gib: option(
            duration(),
            0,
            'As much more for each GiB of the declared size, or of what has arrived where that is not known.',
          ),
        }),
        {},
        'How long the body of an upload may take in all, but for time in which the gateway itself was waited for; both 0 = for ever. ' +
          'Who was waited for longer, client or upstream, is told.',
      ),
      preflight: option(
        choice(['none', 'expect', 'request']),
        'none',
        'How the upstream is asked before the first byte of a body whether it would take it: `expect` sends it the head with ' +
          '`Expect: 100-continue`, `request` the `preflight` of the profile, with the headers of the client. A refusal is ' +
          'relayed, and costs the client no byte.',
      ),
      preflight_timeout: option(
        duration({ min: 1 }),
        10,
        'How long the answer to the request of a preflight may take.',
      ),
      continue_wait: option(
        duration({ min: 1 }),
        '1s',
        'With `preflight: expect`: how long `100 Continue` is waited for; then the body is sent all the same, as curl does.',
      ),
      max_size: option(size(), 0, 'The largest upload; 0 = no limit.'),
      lane: option(
        choice(['auto', 'stream', 'splice']),
        'auto',
        'How bytes are moved: `stream` in JavaScript; `splice` in the kernel, refused where that cannot be had (Linux with ' +
          'glibc, no listener with TLS); `auto` in the kernel where it can be had.',
      ),
      splice_from: option(
        size(),
        '256KiB',
        'With lanes `auto` and `splice`: a body of known length with less than this to come is streamed, because handing it to ' +
          'the kernel costs more than it saves; 0 = none.',
      ),
      watch_interval: option(
        duration(),
        15,
        'How often the image of a running upload is looked up, to notice a delete that went round the gateway; ' +
          '0 = never.',
      ),
      unknown_hold: option(
        duration(),
        '1h',
        'How long the bytes of an upload of unknown outcome stay counted when the API says nothing of its image; ' +
          '0 = for ever.',
      ),
      unknown_confirm: option(
        duration(),
        '30s',
        'How long an image must have been seen without data before the bytes of an upload of unknown outcome are given ' +
          'back: a request that waits in the API, or in a balancer before it, may still be stored.',
      ),
    }),
    {},
    'How uploads are moved.',
  ),
  identity: option(
    mapping({
      source: option(
        choice(['keystone', 'headers', 'none']),
        'headers',
        'Who says whose an upload is: `keystone` by its token, `headers` of a trusted proxy, ' +
          'or `none`: everybody is one owner, `anonymous`.',
      ),
      headers: option(
        mapping({
          user: option(headerName(), 'X-User-Id', 'The header that names the user.'),
          project: option(headerName(), 'X-Project-Id', 'The header that names the project.'),
          trusted_from: option(
            list(network()),
            ['127.0.0.0/8', 'unix'],
            'Networks whose identity headers are believed; from anywhere else they are taken off. `unix` are the peers of ' +
              'unix sockets: the permissions of the socket let in fewer than the loopback address does.',
          ),
        }),
        {},
        'Used by `source: headers`.',
      ),
      keystone: option(
        mapping({
          url: option(webAddress(), 'http://127.0.0.1:5000/v3', 'The identity API.'),
          cache_ttl: option(duration(), 300, 'How long a valid token is believed; 0 = asked every time.'),
          cache_size: option(count({ min: 1 }), 10_000, 'Tokens remembered at once.'),
          timeout: option(duration({ min: 1 }), 10, 'How long the identity API may take to answer.'),
          www_authenticate_uri: optional(
            webAddress(),
            'Where clients without a valid token are sent, if that is not `url`.',
          ),
          service_type: option(
            text('the type of a service'),
            'image',
            'How Keystone’s catalog calls the API: access rules of application credentials name it so.',
          ),
          service_roles: option(
            list(text('the name of a role'), 'role'),
            ['service'],
            'Roles of which one makes a token in `X-Service-Token` a service’s.',
          ),
          service_tokens_from: option(
            list(network()),
            [],
            'Networks of services (Nova, Cinder) whose `X-Service-Token` is looked at and sent on; from anywhere else ' +
              'it is taken off; `unix`: those of unix sockets.',
          ),
          service_account: optional(
            mapping({
              user: text('the name of a user').describe('Name of the user.'),
              user_domain: option(text('the name of a domain'), 'Default', 'Domain of the user.'),
              project: text('the name of a project').describe('The project it logs in to.'),
              project_domain: option(text('the name of a domain'), 'Default', 'Domain of the project.'),
              password_file: text('path').describe(
                'A file with the password and nothing else; a path from this file’s folder.',
              ),
            }),
            'An account of the gateway’s own, with the role admin. Without it a token is validated with itself; with it ' +
              'tokens that may not ask about themselves (of trusts), orphans and, if it has the role reader on the system, ' +
              '`quota.cloud_limits.source: keystone` work too.',
          ),
        }),
        {},
        'Used by `source: keystone`.',
      ),
      admin_roles: option(
        list(text('the name of a role'), 'role'),
        ['admin'],
        'Roles of which one lets a caller upload into the image of another project, which then pays, and change whose an ' +
          'image is. Only roles that the API takes for an administrator’s: others do not see all images of that project.',
      ),
    }),
    {},
    'Who pays for an upload.',
  ),
  quota: option(
    mapping({
      mode: option(
        choice(['enforce', 'log', 'off']),
        'enforce',
        '`enforce` refuses what does not fit, `log` only says so, `off` does not count.',
      ),
      limits: option(
        list(
          mapping({
            per: choice(['project', 'user']).describe('Whose uploads are added up; one entry for each.'),
            ...perAccount,
          }),
        ),
        [
          { per: 'project', total: 0 },
          { per: 'user', saving: 0, uploads: 0 },
        ],
        'The limits of every account.',
      ),
      overrides: option(
        z
          .string({ error: 'expected the path of a file, or "" for none' })
          .register(scalarFacts, { type: 'path' }),
        '',
        'File of limits that differ, by project or user id: `ID: { total, saving, uploads }`; ' +
          'a path from this file’s folder; empty = none.',
      ),
      usage: option(
        mapping({
          source: option(
            choice(['glance', 'none']),
            'glance',
            'Who says what is stored; `none` knows nothing, so `total` cannot be kept.',
          ),
          ttl: option(
            duration(),
            30,
            'How long a reading of the stored bytes is believed; 0 = read every time.',
          ),
        }),
        {},
        'Where the stored bytes of an owner are read.',
      ),
      cloud_limits: option(
        mapping({
          source: option(
            choice(['none', 'usage', 'keystone']),
            'none',
            'Limits of the cloud beside those above: `usage` reads `/v2/info/usage` with the caller’s token, ' +
              '`keystone` reads unified limits with the service account. Of two limits the smaller one holds.',
          ),
          ttl: option(
            duration(),
            60,
            'How long limits of the cloud are believed; 0 = asked for every upload.',
          ),
          region: optional(
            text('the name of a region'),
            'Only limits of this region or of none count; left out: the smallest of all regions.',
          ),
        }),
        {},
        'Unified limits: `image_size_total` (MiB) joins `total` of projects, `image_count_uploading` joins `uploads`.',
      ),
    }),
    {},
    'What uploads may take.',
  ),
  import: option(
    mapping({
      glance_direct: importRule('pass', 'Import of what was staged through the gateway.'),
      web_download: importRule('unless-limited', 'Import from an address on the web, fetched by the API.'),
      copy_image: importRule('pass', 'Copies of an image to more stores.'),
      glance_download: importRule('unless-limited', 'Import from another region’s image API.'),
      tasks: importRule('unless-limited', 'The tasks of old (`POST /v2/tasks`).'),
      locations: importRule(
        'unless-limited',
        'Locations added to or changed in an image, by `POST .../locations` or `PATCH`. ' +
          'Nova’s snapshots on RBD need `pass`.',
      ),
    }),
    {},
    'Ways by which data comes into the API round the gateway: `pass` lets one through, `refuse` answers 403, ' +
      '`unless-limited` lets it through where no project has a `total` that is enforced.',
  ),
  ledger: option(
    mapping({
      type: option(
        choice(['memory', 'redis']).refine((type) => type !== 'redis', { error: 'redis is not built yet' }),
        'memory',
        'Where reservations are kept: `memory` of this process, or `redis` (not built yet).',
      ),
      url: later(text('URL'), 'redis', 'Address of the redis ledger.'),
      key_prefix: later(text('text'), 'redis', 'What the keys of the redis ledger begin with.'),
      lease: later(duration({ min: 1 }), 'redis', 'How long a reservation outlives a silent gateway.'),
    }),
    {},
    'Where saving bytes are counted.',
  ),
  orphans: option(
    mapping({
      interval: option(
        duration(),
        '10m',
        'How often images are looked for that are left in `saving` without an upload; 0 = never. ' +
          'Needs `identity.keystone.service_account`; without it nothing is looked for.',
      ),
      min_age: option(
        duration(),
        '15m',
        'Images that changed more recently are left out: somebody else may be uploading them.',
      ),
    }),
    {},
    'How images that were left in `saving` are found, so that an operator can delete them.',
  ),
  rate_limits: option(
    list(
      mapping({
        action: choice(['any', ...actions.filter((action) => action !== 'forbid')]).describe(
          'What is limited: the action of a route (docs/glance.md), `pass` for the others, or `any`.',
        ),
        per: choice(['project', 'user', 'address']).describe(
          'Whose requests are added up. An IPv6 address counts with its whole /64; who has no identity counts by address only.',
        ),
        requests: count({ min: 1 }).describe('Requests in each `interval`.'),
        interval: duration({ min: 1 }).describe(
          'The time in which `requests` may come; it begins with the first of them.',
        ),
      }),
    ),
    [],
    'Limits of requests; what is over is answered 429. Preflights of browsers are not counted.',
  ),
  log: option(
    mapping({
      level: option(
        choice(['fatal', 'error', 'warn', 'info', 'debug', 'trace']),
        'info',
        'The least important line that is written.',
      ),
      access: option(flag(), true, 'Write one line for each request.'),
    }),
    {},
    'What is written to standard output, as JSON lines.',
  ),
});

/** A configuration as people write it: every key may be left out. */
export type WrittenOptions = z.input<typeof options>;

/** A configuration as read: file shape, defaults filled in, milliseconds and bytes. */
export type Settings = z.output<typeof options>;
