import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { preflight } from '../../src/config/preflight.ts';
import { loaded, printed, type Scratch, scratch } from './scratch.ts';

describe('preflight', () => {
  let files: Scratch;
  let taken: Server;
  let port: number;
  before(async () => {
    files = scratch();
    taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    // listening on TCP, so the address is one
    ({ port } = taken.address() as AddressInfo);
  });
  after(() => {
    taken.close();
    files.remove();
  });

  const check = async (yaml: string, more?: { ports: boolean }) =>
    printed(await preflight(loaded(files.write('sluice.yaml', yaml)), more));

  it('a port in use is named with its place', async () => {
    assert.deepEqual(
      await check(
        `listen: [{ address: "127.0.0.1:0" }, { address: "127.0.0.1:${port}" }]\nadmin: { address: "127.0.0.1:0" }`,
      ),
      [`sluice.yaml:1:49: listen[1].address: cannot listen on 127.0.0.1:${port}: it is in use (EADDRINUSE)`],
    );
    assert.deepEqual(
      await check(`listen: [{ address: "127.0.0.1:0" }]\nadmin:\n  address: "127.0.0.1:${port}"`),
      [`sluice.yaml:3:12: admin.address: cannot listen on 127.0.0.1:${port}: it is in use (EADDRINUSE)`],
    );
  });

  it('ports that are already ours are not tried', async () => {
    assert.deepEqual(await check(`admin: { address: "127.0.0.1:${port}" }`, { ports: false }), []);
  });

  it('what was tried is free again', async () => {
    const socket = `${files.folder}/gateway.sock`;
    const yaml = `listen: [{ address: "unix:${socket}" }]\nadmin: { address: "127.0.0.1:0" }`;
    assert.deepEqual(await check(yaml), []);
    assert.ok(!existsSync(socket));
    assert.deepEqual(await check(yaml), []);
  });

  it('a unix socket needs a folder and a free name', async () => {
    const admin = 'admin: { address: "127.0.0.1:0" }';
    const [absent = ''] = await check(`listen: [{ address: "unix:${files.folder}/no/a" }]\n${admin}`);
    assert.match(absent, /^sluice\.yaml:1:21: .*its folder does not exist or may not be written \(EACCES\)$/);
    const [there = ''] = await check(`listen: [{ address: "unix:${files.write('file', '')}" }]\n${admin}`);
    assert.match(there, /^sluice\.yaml:1:21: .*the file exists: .*\(EADDRINUSE\)$/);
  });

  for (const [listens, server, itself] of [
    ['127.0.0.1', '127.0.0.1', true],
    ['127.0.0.1', 'localhost', true],
    ['127.0.0.1', '127.0.0.2', false],
    ['127.0.0.1', '[::ffff:127.0.0.1]', true],
    ['127.0.0.1', '0.0.0.0', true],
    ['0.0.0.0', '127.0.0.1', true],
    ['0.0.0.0', '127.0.0.2', true],
    ['0.0.0.0', 'localhost', true],
    ['0.0.0.0', '192.0.2.1', false],
    ['0.0.0.0', '[::1]', false],
    ['[::]', '127.0.0.1', true],
    ['[::]', '[::1]', true],
    ['[::]', '192.0.2.1', false],
    ['[0:0::1]', '[::1]', true],
    ['[::1]', '127.0.0.1', false],
    ['localhost', '127.0.0.1', true],
  ] as const) {
    it(`an upstream at ${server} ${itself ? 'is' : 'is not'} a gateway that listens on ${listens}`, async () => {
      const yaml = (serverPort: number) =>
        `listen: [{ address: "127.0.0.1:0" }, { address: "${listens}:${port}" }]\nupstream: { servers: ["http://${server}:${serverPort}"] }`;
      const message = `sluice.yaml:2:23: upstream.servers[0]: this gateway itself listens on ${listens}:${port}`;
      // also where the listeners are kept, as in a reload
      assert.deepEqual(await check(yaml(port), { ports: false }), itself ? [message] : []);
      assert.deepEqual(await check(yaml(port === 65_535 ? port - 1 : port + 1), { ports: false }), []);
    });
  }

  it('an upstream without a port is looked for at the one of its scheme', async () => {
    assert.deepEqual(
      await check('listen: [{ address: "127.0.0.1:80" }]\nupstream: { servers: ["http://127.0.0.1"] }', {
        ports: false,
      }),
      ['sluice.yaml:2:23: upstream.servers[0]: this gateway itself listens on 127.0.0.1:80'],
    );
  });

  it('an upstream whose name does not resolve is named', async () => {
    const yaml = (host: string) =>
      `admin: { address: "127.0.0.1:0" }\nlisten: [{ address: "127.0.0.1:0" }]\nupstream: { servers: ["http://${host}"] }`;
    const [line = ''] = await check(yaml('image.invalid:80'));
    assert.match(
      line,
      /^sluice\.yaml:3:23: upstream\.servers\[0\]: the name image\.invalid does not resolve \(E\w+\)$/,
    );
    assert.deepEqual(await check(yaml('localhost:80')), []);
    assert.deepEqual(await check(yaml('[::1]:80')), []);
  });
});
