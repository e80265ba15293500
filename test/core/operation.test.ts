import assert from 'node:assert/strict';
import fc from 'fast-check';
import { glance } from '../../src/api/glance.ts';
import { type ErrorCode, GatewayError } from '../../src/core/errors.ts';
import { classify, compileProfile, type Operation } from '../../src/core/operation.ts';
import { guardedActions, type Profile } from '../../src/core/profile.ts';
import { imageApi, imageId } from './image-api.ts';
import { assertRefuses } from './refusal.ts';

const image = `/v2/images/${imageId}`;

function read(line: string, profile: Profile = imageApi): Operation {
  const [method = '', target = ''] = line.split(' ', 2);
  return classify(profile, { method, target, accept: undefined });
}

function assertLineRefused(code: ErrorCode, line: string, profile?: Profile): void {
  assertRefuses(code, () => read(line, profile), line);
}

describe('an operation', () => {
  const rows: [line: string, action: string, route: string, image: string | null][] = [
    [`PUT ${image}/file`, 'upload', '/v2/images/{image}/file', imageId],
    [`PUT ${image}/stage`, 'stage', '/v2/images/{image}/stage', imageId],
    [`POST ${image}/import`, 'import', '/v2/images/{image}/import', imageId],
    [`PATCH ${image}`, 'update', '/v2/images/{image}', imageId],
    [`POST ${image}/locations`, 'locations', '/v2/images/{image}/locations', imageId],
    [`DELETE ${image}`, 'delete', '/v2/images/{image}', imageId],
    [`GET ${image}/file`, 'download', '/v2/images/{image}/file', imageId],
    [`GET ${image}`, 'pass', '/v2/images/{image}', imageId],
    ['GET /v2/images/no-uuid', 'pass', '/v2/images/{image}', null],
    [`GET /v2/images/${imageId.toUpperCase()}`, 'pass', '/v2/images/{image}', null],
    ['POST /v2/images', 'create', '/v2/images', null],
    ['GET /v2/images', 'pass', 'other', null],
    ['GET /v2/images/', 'pass', 'other', null],
    ['DELETE /v2/images/', 'pass', 'other', null],
    [`PUT ${image}/tags/A%20b;c`, 'pass', '/v2/images/{image}/tags/{tag}', imageId],
    [`PUT ${image}/tags/file`, 'pass', '/v2/images/{image}/tags/{tag}', imageId],
    [`POST ${image}/file`, 'pass', 'other', null],
    [`OPTIONS ${image}/file`, 'pass', 'other', null],
    ['GET /', 'pass', 'other', null],
    ['GET /healthcheck', 'pass', 'other', null],
    ['PUT /v3/images/x/file', 'pass', 'other', null],
    ['PUT /v20/images/x/file', 'pass', 'other', null],
  ];
  for (const [line, action, route, id] of rows) {
    it(`${line} is ${action} (${route}) and goes upstream as it is`, () => {
      const target = line.slice(line.indexOf(' ') + 1);
      assert.deepEqual(read(line), { action, route, image: id, target, upgrade: false });
    });
  }

  it('lets protocol upgrades through on the routes that say so', () => {
    assert.equal(read('GET /v2/console').upgrade, true);
  });

  it('keeps its query as given', () => {
    assert.equal(read(`PUT ${image}/file?a=%2f;b`).target, `${image}/file?a=%2f;b`);
    assert.equal(read(`PUT ${image}/file?`).target, `${image}/file?`);
  });

  it('goes upstream under the canonical version, whether its path is listed or not', () => {
    assert.equal(read(`PUT /v2.9/images/${imageId}/file?x`).target, `${image}/file?x`);
    assert.equal(read(`DELETE /v2.18/images/${imageId}`).image, imageId);
    assert.equal(read('GET /v2.0/schemas/image?x').target, '/v2/schemas/image?x');
    assert.equal(read('GET /v2.0').target, '/v2');
  });

  it('takes the first route of the table that matches, literal or not', () => {
    const routes: Profile['routes'] = [
      { method: 'GET', path: '/files/{name}', action: 'pass' },
      { method: '*', path: '/files/secret', action: 'forbid' },
      { method: 'GET', path: '/files/secret', action: 'download' },
    ];
    assert.equal(read('GET /files/secret', { ...imageApi, routes }).route, '/files/{name}');
    assertLineRefused('route-forbidden', 'PUT /files/secret', { ...imageApi, routes });
    const turned = routes.toReversed();
    assert.equal(read('GET /files/secret', { ...imageApi, routes: turned }).action, 'download');
  });

  it('on a forbidden route is refused with any method', () => {
    for (const method of ['GET', 'POST', 'DELETE'])
      assertLineRefused('route-forbidden', `${method} /v2/tasks`);
  });

  it('that is not listed is refused where the profile is closed', () => {
    const closed: Profile = { ...imageApi, unlisted: 'forbid' };
    assertLineRefused('route-forbidden', 'GET /v2/schemas/image', closed);
    assert.equal(read('POST /v2/images', closed).action, 'create');
  });

  it('with a method that is not in capitals is refused', () => {
    for (const method of ['put', 'Put', 'PUt', 'PÜT', '', '-', 'P UT']) {
      const head = { method, target: `${image}/file`, accept: undefined };
      assertRefuses('request-invalid', () => classify(imageApi, head), method);
    }
    assert.equal(read('M-SEARCH /v2').action, 'pass');
  });
});

describe('an image id', () => {
  const judged = ['POST /v2/images/ID/import', 'PATCH /v2/images/ID', 'POST /v2/images/ID/locations'];
  const metered = ['PUT /v2/images/ID/file', 'PUT /v2/images/ID/stage', 'DELETE /v2/images/ID'];
  const malformed = [
    'x',
    `${imageId}0`,
    imageId.slice(1),
    `${imageId};x`,
    `${imageId}%20`,
    imageId.replaceAll('-', ''),
  ];
  for (const line of [...metered, ...judged]) {
    it(`on ${line} is refused in other case and in other form`, () => {
      assert.equal(read(line.replace('ID', imageId)).image, imageId);
      assertLineRefused('image-id-not-canonical', line.replace('ID', imageId.toUpperCase()));
      assertLineRefused('image-id-not-canonical', line.replace('ID', imageId.replace('a', 'A')));
      for (const id of malformed) assertLineRefused('image-id-malformed', line.replace('ID', id));
    });
  }

  it('may differ by case where the profile says so, and by nothing else', () => {
    const exact: Profile = { ...imageApi, imageId: /.+/g, imageIdCase: 'exact' };
    assert.equal(read('PUT /v2/images/Disk/file', exact).image, 'Disk');
    assert.equal(read('PUT /v2/images/disk/file', exact).image, 'disk');
    for (const id of ['disk;x', 'disk%20', 'd%C3%AFsk']) {
      assertLineRefused('image-id-not-canonical', `DELETE /v2/images/${id}`, exact);
    }
  });

  it('is matched as a whole, by a pattern without memory', () => {
    const digits: Profile = { ...imageApi, imageId: /\d/g };
    for (const id of ['1', '2', '3']) assert.equal(read(`PUT /v2/images/${id}/file`, digits).image, id);
    assertLineRefused('image-id-malformed', 'PUT /v2/images/12/file', digits);
  });
});

describe('a version in Accept', () => {
  const head = (accept: string | undefined) => ({ method: 'PUT', target: `/images/${imageId}/file`, accept });
  it('is refused in any case and at any place', () => {
    for (const accept of [
      'application/vnd.openstack.images-v2.1',
      'Application/VND.openstack.Images-V2',
      'text/html, application/vnd.openstack.images-v2.9+json',
    ]) {
      assertRefuses('version-in-accept', () => classify(imageApi, head(accept)), accept);
    }
  });
  it('is not what other media types of the API are taken for', () => {
    for (const accept of [undefined, '', '*/*', 'application/openstack-images-v2.1-json-patch']) {
      assert.equal(classify(imageApi, head(accept)).action, 'pass');
    }
  });
  it('is of no interest to a profile without it', () => {
    const accept = 'application/vnd.openstack.images-v2.1';
    assert.equal(classify({ ...imageApi, versionInAccept: null }, head(accept)).action, 'pass');
  });
});

describe('a method override', () => {
  for (const query of [
    '_method=DELETE',
    'a=b&_METHOD=put',
    '%5fmethod=DELETE',
    '%5Fm%65thod=DELETE',
    'x_method=1&%5fmethod=DELETE',
    '%255fmethod=DELETE',
    'a=%zz&%5Fmethod=DELETE',
    'a=%ff%5Fmethod',
    '_method',
  ]) {
    it(`?${query} is refused with any method`, () => {
      for (const method of ['GET', 'POST', 'PUT'])
        assertLineRefused('method-override', `${method} ${image}?${query}`);
    });
  }
  it('is not what similar queries are taken for', () => {
    for (const query of ['method=DELETE', '_+method=1', 'a=%zz', '%', '_metho', '-method=x']) {
      assert.equal(read(`GET ${image}?${query}`).action, 'pass');
    }
  });
  it('is of no interest to a profile without it', () => {
    assert.equal(read(`GET ${image}?_method=DELETE`, { ...imageApi, methodOverride: null }).action, 'pass');
  });
});

describe('another spelling of a path that the gateway acts upon', () => {
  const lookalikes = [
    `PUT ${image}/file/`,
    `PUT ${image}/File`,
    `PUT ${image}/FILE/`,
    `PUT ${image}/file;x=y`,
    `PUT ${image}/file;`,
    `PUT ${image}/file%3Bx`,
    `PUT ${image}/file%3Fx`,
    `PUT ${image}/file%23x`,
    `PUT ${image}/file%20`,
    `PUT ${image}/%2566ile`,
    `PUT ${image}/%252566ile`,
    `PUT ${image}/%EF%BD%86ile`,
    `PUT ${image}%252Ffile`,
    `PUT ${image}%25255cfile`,
    `PUT /v2/Images/${imageId}/file`,
    `PUT /v2/images;x/${imageId}/file`,
    `PUT /V2/images/${imageId}/file`,
    `PUT /V2.9/images/${imageId}/file`,
    `PUT /v02/images/${imageId}/file`,
    `PUT /v2./images/${imageId}/file`,
    `PUT /v2.05/images/${imageId}/file`,
    `PUT /v2.19/images/${imageId}/file`,
    `PUT /v2.9.9/images/${imageId}/file`,
    `PUT /v2;x/images/${imageId}/stage`,
    `PUT /v2.9/images/${imageId}/file/`,
    `PUT ${image}/Stage`,
    `POST ${image}/import/`,
    `POST ${image}/Import`,
    `POST ${image}/%2569mport`,
    `POST /v2.05/images/${imageId}/import`,
    `PATCH ${image}/`,
    `PATCH /v2/Images/${imageId}`,
    `PATCH /v02/images/${imageId}`,
    `POST ${image}/LOCATIONS`,
    `POST ${image}/locations;x`,
    `POST ${image}/locations%20`,
    `DELETE ${image}/`,
    `DELETE /v2/IMAGES/${imageId}`,
    `DELETE /v2.99/images/${imageId}`,
    `DELETE /v2/images%252F${imageId}`,
    'GET /v2/tasks/',
    'POST /v2.77/tasks',
    'PUT /v2/Tasks',
  ];
  for (const line of lookalikes) {
    it(`${line} is refused`, () => assertLineRefused('target-ambiguous', line));
  }

  for (const line of [
    'POST /v2/Tasks',
    'POST /v2/tasks/',
    'POST /v02/tasks',
    'POST /v2/t%2561sks',
    'POST /V2/tasks;x',
  ]) {
    it(`${line} is refused by Glance's own profile`, () => {
      assertLineRefused('target-ambiguous', line, glance);
    });
  }

  it('is refused where it hides a dot segment or a control character, or is encoded over and over', () => {
    assertLineRefused('target-ambiguous', `PUT /v2/x/%252e%252e/images/${imageId}/file`);
    assertLineRefused('target-ambiguous', 'GET /v2/%25252525252e');
    assertLineRefused('target-ambiguous', `PUT ${image}/file%2500`);
    assertLineRefused('target-ambiguous', `PUT ${image}/fi%C2%85le`);
  });

  it('is refused in whatever case the table and its version are written', () => {
    const profile: Profile = {
      ...imageApi,
      routes: [{ method: 'PUT', path: '/API/Images/{image}', action: 'upload' }],
      versionAlias: { canonical: 'API', pattern: /^latest$/ },
    };
    assert.equal(read(`PUT /latest/Images/${imageId}`, profile).target, `/API/Images/${imageId}`);
    for (const path of [
      '/api/Images',
      '/API/images',
      '/Latest/Images',
      '/latest;x/images',
      '/api.1/Images',
    ]) {
      assertLineRefused('target-ambiguous', `PUT ${path}/${imageId}`, profile);
    }
  });

  it('passes where the gateway acts upon neither spelling', () => {
    for (const line of [
      'GET /v2/images/',
      `GET ${image}/File`,
      'GET /V2/images',
      'GET /v2.99/images',
      `PUT ${image}/tags/File;x`,
      `PUT ${image}/tags/a%252Fb`,
      `PUT ${image}/file/x`,
      'POST /v2/images/',
    ]) {
      const operation = read(line);
      assert.equal(operation.action, 'pass', line);
      assert.equal(operation.target, line.slice(line.indexOf(' ') + 1));
    }
  });
});

describe('a table of routes', () => {
  it('is made ready once for each profile', () => {
    assert.equal(compileProfile(imageApi), compileProfile(imageApi));
    assert.notEqual(compileProfile(imageApi), compileProfile({ ...imageApi }));
  });
  it('that cannot work is refused', () => {
    const withRoute = (path: string, action: 'upload' | 'pass'): Profile => ({
      ...imageApi,
      routes: [{ method: 'PUT', path, action }],
    });
    assert.throws(() => compileProfile(withRoute('v2/{image}', 'pass')), /begins with a slash/);
    assert.throws(() => compileProfile(withRoute('/{image}/{image}', 'pass')), /twice/);
    assert.throws(() => compileProfile(withRoute('/v2/{name}/file', 'upload')), /needs \{image\}/);
    compileProfile(withRoute('/v2/{name}/file', 'pass'));
  });
});

/** What the most obliging server there could be does with a request: it knows no spelling it would not take. */
function lenientServer(method: string, target: string): string {
  let path = target.replace(/\?.*$/s, '');
  for (let before = ''; before !== path; ) {
    before = path;
    path = path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
  }
  path = Buffer.from(path, 'latin1').toString('utf8').normalize('NFKC').toLowerCase();
  const segments: string[] = [];
  for (const raw of path.replace(/[?#].*$/s, '').split(/[/\\]+/)) {
    const segment = raw
      .replace(/;.*$/s, '')
      .replace(/\p{Cc}/gu, '')
      .trim();
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  const [version = '', images, id = '', verb, ...more] = segments;
  if (!/^v0*2(?:\.\d*)*$/.test(version) || more.length > 0) return 'other';
  if (method === 'POST' && images === 'tasks' && id === '') return 'task';
  if (images !== 'images' || id === '') return 'other';
  if (method === 'POST' && verb === 'import') return 'import';
  if (method === 'POST' && verb === 'locations') return 'locations';
  if (method === 'PATCH' && verb === undefined) return 'update';
  if (method === 'PUT' && verb === 'file') return 'upload';
  if (method === 'PUT' && verb === 'stage') return 'stage';
  if (method === 'DELETE' && verb === undefined) return 'delete';
  return 'other';
}

describe('no spelling of a path', () => {
  const canonical = [
    { method: 'PUT', target: `${image}/file`, action: 'upload' },
    { method: 'PUT', target: `${image}/stage`, action: 'stage' },
    { method: 'POST', target: `${image}/import`, action: 'import' },
    { method: 'POST', target: `${image}/locations`, action: 'locations' },
    { method: 'PATCH', target: image, action: 'update' },
    { method: 'POST', target: '/v2/tasks', action: 'task' },
    { method: 'DELETE', target: image, action: 'delete' },
  ] as const;

  /** Each takes a target and where to change it, and spells it otherwise. */
  const respellings: Record<string, (target: string, at: number) => string> = {
    'escape a character': (target, at) => splice(target, at, (c) => `%${hexOf(c)}`),
    'escape a character in capitals': (target, at) => splice(target, at, (c) => `%${hexOf(c).toUpperCase()}`),
    'escape a character twice': (target, at) => splice(target, at, (c) => `%25${hexOf(c)}`),
    'escape a character three times': (target, at) => splice(target, at, (c) => `%2525${hexOf(c)}`),
    'widen a character': (target, at) =>
      splice(target, at, (c) => encodeURIComponent(String.fromCharCode(c.charCodeAt(0) + 0xfee0))),
    'turn a character around': (target, at) =>
      splice(target, at, (c) => (c === c.toLowerCase() ? c.toUpperCase() : c.toLowerCase())),
    'double a slash': (target, at) => atSlash(target, at, '//'),
    'insert a dot segment': (target, at) => atSlash(target, at, '/./'),
    'insert a detour': (target, at) => atSlash(target, at, '/x/../'),
    'turn a slash': (target, at) => atSlash(target, at, '\\'),
    'escape a slash': (target, at) => atSlash(target, at, '%2f'),
    'escape a slash twice': (target, at) => atSlash(target, at, '%252F'),
    'add a parameter': (target, at) => atSlash(`${target}/`, at, ';x=1/').replace(/\/$/, ''),
    'add an escaped parameter': (target, at) => atSlash(`${target}/`, at, '%3bx/').replace(/\/$/, ''),
    'add a space': (target, at) => atSlash(`${target}/`, at, '%20/').replace(/\/$/, ''),
    'add a zero': (target, at) => atSlash(`${target}/`, at, '%00/').replace(/\/$/, ''),
    'use an alias': (target, at) => target.replace('v2', `v2.${at % 20}`),
    'use a padded alias': (target, at) => target.replace('v2', `v2.0${at % 10}`),
    'pad the version': (target) => target.replace('v2', 'v02'),
    'add a slash': (target) => `${target}/`,
    'add an empty query': (target) => `${target}?`,
    'escape the query mark': (target) => `${target}%3fa`,
    'add a fragment': (target) => `${target}#a`,
    'lead with a slash': (target) => `/${target}`,
    'lead with a host': (target) => `http://host${target}`,
    'insert a character': (target, at) =>
      splice(target, at, (c) => `${c}${String.fromCharCode(33 + (at % 94))}`),
    'drop a character': (target, at) => splice(target, at, () => ''),
    'add a segment': (target) => `${target}/x`,
    'drop a segment': (target) => target.replace(/\/[^/]*$/, ''),
  };

  // most of the above are refused at sight, and would hide what the others do together
  const quiet = /twice|three|widen|around|parameter|space|alias|pad|a slash$|segment$|insert a char/;
  const entries = Object.entries(respellings);
  const respelling = (names: typeof entries) =>
    fc.record({
      respell: fc.constantFrom(...names).map(([, respell]) => respell),
      at: fc.nat({ max: 1000 }),
    });
  const loud = respelling(entries);
  const silent = respelling(entries.filter(([name]) => quiet.test(name)));
  const request = fc.record({
    from: fc.constantFrom(...canonical),
    profile: fc.constantFrom(imageApi, glance),
    steps: fc.oneof(fc.array(loud, { maxLength: 3 }), fc.array(silent, { minLength: 1, maxLength: 4 })),
  });

  it('reaches a handler that the gateway acts upon without being accounted for', () => {
    const seen = { refused: 0, metered: 0, passed: 0 };
    fc.assert(
      fc.property(request, ({ profile, from, steps }) => {
        const target = steps.reduce<string>((spelt, { respell, at }) => respell(spelt, at), from.target);
        let operation: Operation;
        try {
          operation = classify(profile, { method: from.method, target, accept: undefined });
        } catch (error) {
          assert.ok(error instanceof GatewayError, String(error));
          seen.refused += 1;
          return;
        }
        const handler = lenientServer(from.method, operation.target);
        if (!guardedActions.includes(operation.action)) {
          seen.passed += 1;
          assert.equal(handler, 'other', `${target} passed as ${operation.target}`);
          return;
        }
        seen.metered += 1;
        assert.equal(operation.action, handler, target);
        const path = operation.target.replace(/\?.*$/s, '');
        assert.equal(path, operation.route.replace('{image}', operation.image ?? ''));
      }),
      { numRuns: 30_000 },
    );
    // the mutations must reach all three outcomes, or the property proves little
    for (const [outcome, count] of Object.entries(seen)) assert.ok(count > 300, `${outcome}: ${count}`);
  });

  it('is taken for a canonical one when it is nothing but random text', () => {
    const text = fc.stringMatching(/^\/[ -~]{0,40}$/);
    fc.assert(
      fc.property(fc.constantFrom('PUT', 'DELETE'), text, (method, target) => {
        try {
          assert.equal(classify(imageApi, { method, target, accept: undefined }).action, 'pass');
        } catch (error) {
          assert.ok(error instanceof GatewayError, String(error));
        }
      }),
      { numRuns: 5_000 },
    );
  });
});

const hexOf = (character: string): string => character.charCodeAt(0).toString(16).padStart(2, '0');

function splice(target: string, at: number, change: (character: string) => string): string {
  const index = at % target.length;
  return target.slice(0, index) + change(target.charAt(index)) + target.slice(index + 1);
}

/** Replaces one of the slashes. */
function atSlash(target: string, at: number, replacement: string): string {
  const parts = target.split('/');
  if (parts.length < 2) return target;
  const index = 1 + (at % (parts.length - 1));
  return parts.slice(0, index).join('/') + replacement + parts.slice(index).join('/');
}
