import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { z } from 'zod';
import { glance } from '../../src/api/glance.ts';
import { defaultConfig } from '../../src/config/load.ts';
import { options } from '../../src/config/options.ts';
import { readOverrides } from '../../src/config/overrides.ts';
import { readProfile } from '../../src/config/profile.ts';
import { generatedFiles, optionRows, optionsHelp } from '../../src/config/reference.ts';
import { actions } from '../../src/core/profile.ts';
import { loaded } from './scratch.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (path: string) => readFileSync(`${root}${path}`, 'utf8');

describe('files that ship with the project', () => {
  const overrides = ['quotas.yaml'];
  for (const name of readdirSync(`${root}config`).filter((each) => each.endsWith('.yaml'))) {
    it(`config/${name} is without error`, () => {
      if (overrides.includes(name)) {
        const { findings, overrides: found } = readOverrides(parse(read(`config/${name}`)));
        assert.deepEqual(findings, []);
        assert.ok(found.size > 0);
      } else loaded(`${root}config/${name}`);
    });
  }

  for (const name of readdirSync(`${root}config/apis`)) {
    it(`config/apis/${name} is without error`, () => {
      assert.deepEqual(readProfile(parse(read(`config/apis/${name}`))).findings, []);
    });
  }

  it('npm start puts node in the place of its shell, so that a signal to npm reaches the gateway', () => {
    const { scripts } = z
      .looseObject({ scripts: z.object({ start: z.string() }) })
      .parse(JSON.parse(read('package.json')));
    assert.match(scripts.start, /&& exec node dist\/main\.js demo$/);
  });

  it('config/sluice.yaml has every key with its default', () => {
    const { config } = loaded(`${root}config/sluice.yaml`);
    assert.deepEqual(config, defaultConfig());
    const written: unknown = parse(read('config/sluice.yaml'));
    // a key left out would be filled in by the table: what is written must already be everything
    const { data, error } = options.safeParse(written);
    assert.equal(error, undefined);
    const keys = (value: unknown): unknown =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).map(([key, each]) => [key, keys(each)]))
        : null;
    assert.deepEqual(keys(written), keys(z.encode(options, data ?? options.parse({}))));
  });

  it('config/glance-uwsgi.yaml sends frames that uWSGI takes', () => {
    const { upload, upstream } = loaded(`${root}config/glance-uwsgi.yaml`).config;
    assert.equal(upload.frameBytes, 512 * 1024);
    assert.ok(upstream.idleTimeoutMs < 10_000);
  });

  for (const [path, content] of Object.entries(generatedFiles())) {
    it(`${path} is as printed from the table`, () => {
      assert.ok(read(path) === content, `${path} is out of date: run \`npm run generate\``);
    });
  }

  it('every key has a sentence and a type', () => {
    const rows = optionRows();
    assert.deepEqual(
      rows.filter(({ sentence, type }) => !/^.+\.$/.test(sentence) || (type === 'text' && sentence === '')),
      [],
    );
    assert.ok(rows.length > 60);
    for (const { key } of rows) assert.ok(optionsHelp().includes(`${key}  (`), key);
  });
});

describe('the built-in profile of Glance', () => {
  it('has one row in docs/glance.md for each route, with the action and what is done about it', () => {
    const rows = [
      ...read('docs/glance.md').matchAll(/^\| (\*|[A-Z]+) \| `(\/[^`]*)` \| (\w+) \| [^|]+ \| [^|]+ \|$/gm),
    ];
    const documented = rows.map(([, method, path, action]) => `${method} ${path} ${action}`);
    const meaning = glance.routes.map(({ method, path, action }) => `${method} ${path} ${action}`);
    assert.deepEqual(documented, meaning);
    assert.ok(meaning.length > 40);
  });

  it('has a route for every action but forbid', () => {
    const named = new Set(glance.routes.map(({ action }) => action));
    for (const action of actions) assert.equal(named.has(action), action !== 'forbid', action);
  });

  it('knows ids and versions as wholes', () => {
    const id = '0c1d2e3f-0000-4000-8000-123456789abc';
    assert.ok(glance.imageId.test(id));
    for (const other of [id.toUpperCase(), `${id}0`, `a${id}`, id.replaceAll('-', ''), `${id}\n`]) {
      assert.ok(!glance.imageId.test(other), JSON.stringify(other));
    }
    const pattern = glance.versionAlias?.pattern;
    for (const version of ['v2.0', 'v2.9', 'v2.18']) assert.ok(pattern?.test(version), version);
    for (const version of ['v2', 'v2.', 'v2.00', 'v2x9', 'v2.9a', 'V2.9', 'v1.0', 'v3']) {
      assert.ok(!pattern?.test(version), version);
    }
  });
});
