import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../src', import.meta.url));
const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

const imports: Import[] = files.flatMap((from) => {
  const text = readFileSync(join(root, from), 'utf8');
  const statements = text.matchAll(/^(?:import|export)(?: (type)\b)?(?:[^;'"]*?\bfrom)? ?['"]([^'"]+)['"]/gm);
  const calls = text.matchAll(/()\bimport\(\s*['"]([^'"]+)['"]/g);
  return [...statements, ...calls].map(([, type, to = '']) => ({
    from,
    to: to.startsWith('.') ? normalize(join(dirname(from), to)) : to,
    typeOnly: type === 'type',
  }));
});

describe('the source tree', () => {
  it('is read by this test', () => {
    assert.equal(imports.length > 100, true, `${imports.length} imports were found`);
  });

  it('has a core that imports nothing but the core', () => {
    const strangers = imports.filter(({ from, to }) => from.startsWith('core/') && !to.startsWith('core/'));
    assert.deepEqual(strangers, []);
  });

  it('has a core without clock and timer', () => {
    const impure = files.filter(
      (file) =>
        file.startsWith('core/') &&
        /\b(?:Date|performance|setTimeout|setInterval|setImmediate|queueMicrotask|process\.|Math\.random)\b/.test(
          readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, ''),
        ),
    );
    assert.deepEqual(impure, []);
  });

  it('touches HTTP and sockets of clients and upstreams in src/http only', () => {
    const allowed = /^(?:http|demo)\/|^admin\/server\.ts$|^config\/(?:preflight|scalars)\.ts$/;
    const touching = imports.filter(
      ({ from, to, typeOnly }) =>
        /^(?:(?:node:)?(?:https?|http2|net|tls|dgram)|undici|http-proxy)$/.test(to) &&
        !typeOnly &&
        !allowed.test(from),
    );
    assert.deepEqual(touching, []);
  });

  it('shows the demo to the command line only', () => {
    const users = imports.filter(
      ({ from, to }) => to.startsWith('demo/') && !from.startsWith('demo/') && from !== 'main.ts',
    );
    assert.deepEqual(users, []);
  });

  it('has no drawer for leftovers', () => {
    assert.deepEqual(
      files.filter((file) => /(?:^|\/)(?:utils?|helpers?|common|manager|misc)\.ts$/.test(file)),
      [],
    );
  });
});
