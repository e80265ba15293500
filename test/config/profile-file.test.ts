import assert from 'node:assert/strict';
import { complaints, loaded, type Scratch, scratch } from './scratch.ts';

const least = 'name: a\nimage_id: "[a-z]+"\nroutes:\n';
const upload = '  - { method: PUT, path: "/i/{image}", action: upload }\n';

/** What follows `least`, and what is said about it. */
const cases: Readonly<Record<string, readonly string[]>> = {
  [upload]: [],
  '  []': ['4:3: routes: expected at least one route, got an empty list'],
  '  - { method: put, path: "/{image}", action: upload }': [
    '4:15: routes[0].method: expected a method in capitals, or "*", got "put"',
  ],
  '  - { method: PUT, path: "{image}", action: upload }': [
    '4:26: routes[0].path: expected a path that begins with "/", got "{image}"',
  ],
  '  - { method: PUT, path: "/i/{image}/", action: upload }': [
    '4:26: routes[0].path: a path has no empty segment and no "/" at its end',
  ],
  '  - { method: PUT, path: "/x{image}", action: upload }': [
    '4:26: routes[0].path: a segment is literal text or one {name}; "x{image}" is neither',
  ],
  '  - { method: GET, path: "/../a", action: pass }': [
    '4:26: routes[0].path: a segment is literal text or one {name}; ".." is neither',
  ],
  '  - { method: GET, path: "/%66", action: pass }': [
    '4:26: routes[0].path: a segment is literal text or one {name}; "%66" is neither',
  ],
  '  - { method: GET, path: "/{a}/{a}", action: pass }': [
    '4:26: routes[0].path: each {name} may stand once in a path',
  ],
  '  - { method: PUT, path: "/i/{id}", action: stage }': [
    '4:26: routes[0].path: a route of action stage needs {image} in its path',
  ],
  '  - { method: POST, path: "/i/{id}/import", action: import }': [
    '4:27: routes[0].path: a route of action import needs {image} in its path',
  ],
  '  - { method: POST, path: "/tasks", action: task }': [],
  '  - { method: DELETE, path: "/i", action: delete }': [
    '4:29: routes[0].path: a route of action delete needs {image} in its path',
  ],
  '  - { method: GET, path: /, action: pass }': [],
  '  - { method: GET, path: "/i/{id}", action: download }': [],
  [`${upload}  - { method: PUT, path: "/i/{other}", action: pass }`]: [
    '5:26: routes[1].path: PUT with this path is already routes[0]',
  ],
  [`${upload}  - { method: "*", path: "/i/{image}", action: uplod }`]: [
    '5:48: routes[1].action: expected one of upload, stage, import, update, locations, task, change, delete, download, create, forbid, pass, got "uplod"; did you mean "upload"?',
  ],
  [`${upload}success: [204, 404]`]: ['5:16: success[1]: expected a whole number from 200 to 299, got 404'],
  [`${upload}success: [199, 200, 299, 300]`]: [
    '5:11: success[0]: expected a whole number from 200 to 299, got 199',
    '5:26: success[3]: expected a whole number from 200 to 299, got 300',
  ],
  [`${upload}unlised: pass`]: ['5:1: unknown key "unlised"; did you mean "unlisted"?'],
  [`${upload}version_alias: { canonical: v2, pattern: "(" }`]: [
    '5:42: version_alias.pattern: expected a regular expression, got "("',
  ],
  [`${upload}status: { path: "/i", field: s, stored: [a], not_stored: [] }`]: [
    '5:17: status.path: needs {image}',
  ],
  [`${upload}status: { path: "/{image}", field: s, stored: [a], not_stored: [b, a] }`]: [
    '5:68: status.not_stored[1]: "a" is also in status.stored',
  ],
  [`${upload}preflight: { path: "/session" }`]: [],
  [`${upload}preflight: { method: POST, path: "/{other}", success: [404] }`]: [
    '5:22: preflight.method: expected one of GET, HEAD, got "POST"',
    '5:34: preflight.path: takes no {name} but {image}',
    '5:56: preflight.success[0]: expected a whole number from 200 to 299, got 404',
  ],
  [`${upload}size_header: "x size"`]: ['5:14: size_header: expected the name of a header, got "x size"'],
};

describe('a profile file', () => {
  let files: Scratch;
  let config: string;
  before(() => {
    files = scratch();
    config = files.write('sluice.yaml', 'api: ./api.yaml');
  });
  after(() => files.remove());

  for (const [yaml, said] of Object.entries(cases)) {
    it(`${said.length === 0 ? 'is taken' : 'is refused'}: ${yaml.trim().replaceAll('\n', ' / ')}`, () => {
      files.write('api.yaml', least + yaml);
      assert.deepEqual(
        complaints(config),
        said.map((each) => `api.yaml:${each}`),
      );
    });
  }

  it('needs a name, routes and what an id is', () => {
    files.write('api.yaml', '');
    assert.deepEqual(complaints(config), [
      'api.yaml:1:1: name: missing; expected a name',
      'api.yaml:1:1: routes: missing; expected a list',
      'api.yaml:1:1: image_id: missing; expected a regular expression',
    ]);
  });

  it('names the request that upload.preflight asks, or that is refused', () => {
    const asking = files.write('asking.yaml', 'api: ./api.yaml\nupload: { preflight: request }');
    files.write('api.yaml', `${least}${upload}`);
    assert.deepEqual(complaints(asking), [
      'asking.yaml:2:22: upload.preflight: the profile "a" has no request for it (preflight)',
    ]);
    files.write('api.yaml', `${least}${upload}preflight: { path: "/session" }`);
    assert.deepEqual(complaints(asking), []);
    assert.deepEqual(loaded(asking).config.api.preflight, {
      method: 'GET',
      path: '/session',
      success: [200],
    });
  });

  it('becomes the profile that it says', () => {
    files.write(
      'api.yaml',
      `name: a
routes: [{ method: PUT, path: "/v1/{image}", action: upload, upgrade: true }]
unlisted: forbid
image_id: a|b
image_id_case: lower
version_alias: { canonical: v1, pattern: "v1[.]5" }
size_header: X-Size
success: [201]
status: { path: "/v1/{image}", field: state, owner: tenant, stored: [ready], not_stored: [] }
preflight: { method: HEAD, path: "/v1/{image}", success: [204] }`,
    );
    const { api } = loaded(config).config;
    assert.deepEqual(api, {
      name: 'a',
      routes: [{ method: 'PUT', path: '/v1/{image}', action: 'upload', upgrade: true }],
      unlisted: 'forbid',
      imageId: /^(?:a|b)$/,
      imageIdCase: 'lower',
      versionAlias: { canonical: 'v1', pattern: /^(?:v1[.]5)$/ },
      versionInAccept: null,
      methodOverride: null,
      sizeHeader: 'x-size',
      success: [201],
      status: { path: '/v1/{image}', field: 'state', owner: 'tenant', stored: ['ready'], notStored: [] },
      preflight: { method: 'HEAD', path: '/v1/{image}', success: [204] },
    });
    assert.ok(!api.imageId.test('ab'));
  });
});
