import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defaultConfig } from '../../src/config/load.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TestGateway } from '../support/test-gateway.ts';

const upgradeTo = (target: string, protocol = 'websocket'): string[] => [
  `GET ${target} HTTP/1.1`,
  'Host: x',
  'Connection: Upgrade',
  `Upgrade: ${protocol}`,
];

describe('a protocol upgrade', () => {
  let folder: string;
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-upgrade-'));
    const api = join(folder, 'api.yaml');
    writeFileSync(
      api,
      `name: echo
image_id: "[a-z]+"
routes:
  - { method: PUT, path: "/images/{image}", action: upload }
  - { method: GET, path: /echo, action: pass, upgrade: true }
`,
    );
    upstream = await ScriptedUpstream.start((connection) => {
      const asked = /^upgrade: *websocket/im.test(connection.head);
      connection.write(
        asked
          ? 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello'
          : 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno',
      );
    });
    sluice = await TestGateway.start(upstream.port, { api, quota: { usage: { source: 'none' } } });
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
    rmSync(folder, { recursive: true });
  });

  it('goes through on a route that allows it', async () => {
    const client = await sluice.client();
    await client.request(...upgradeTo('/echo'));
    await client.receive(17);
    assert.equal(client.unread.subarray(0, 17).toString(), 'HTTP/1.1 101 Swit');
    assert.equal(upstream.connections.length, 1);
    const [connection] = upstream.connections;
    assert.equal(connection?.header('forwarded'), 'for=127.0.0.1;proto=http');
    const via = connection?.header('via') ?? '';
    assert.match(via, /^1\.1 sluice-[0-9a-f]{16}$/);
    client.destroy();
    const again = await sluice.client();
    await again.request(...upgradeTo('/echo'), `Via: ${via}`);
    assert.equal((await again.response()).status, 508);
    assert.equal(upstream.connections.length, 1);
  });

  it('goes through on a route that allows it only since a reload', async () => {
    const api = join(folder, 'next.yaml');
    const route = (upgrade: boolean): string => `name: echo
image_id: "[a-z]+"
routes:
  - { method: PUT, path: "/images/{image}", action: upload }
  - { method: GET, path: /echo, action: pass, upgrade: ${upgrade} }
`;
    for (const [upgrade, begins] of [
      [false, 'HTTP/1.1 200 OK'],
      [true, 'HTTP/1.1 101 Swit'],
    ] as const) {
      writeFileSync(api, route(upgrade));
      sluice.gateway.reload(
        defaultConfig({
          api,
          upstream: { servers: [`http://127.0.0.1:${upstream.port}`], health: { interval: 0 } },
          quota: { usage: { source: 'none' } },
        }),
      );
      const client = await sluice.client();
      await client.request(...upgradeTo('/echo'));
      await client.receive(17);
      assert.equal(client.unread.toString().startsWith(begins), true, client.unread.toString());
      client.destroy();
    }
  });

  for (const [where, target, protocol] of [
    ['on any other route', '/images/cirros', 'websocket'],
    ['to any other protocol', '/echo', 'h2c'],
  ] as const) {
    it(`is refused ${where}, and the upstream does not hear of it`, async () => {
      const client = await sluice.client();
      await client.request(...upgradeTo(target, protocol));
      const answer = await client.response();
      assert.equal(answer.status, 400);
      assert.equal(JSON.parse(answer.body.toString()).code, 'upgrade-refused');
      assert.match(String(answer.headers.get('x-openstack-request-id')), /^req-/);
      assert.equal(upstream.connections.length, 0);
    });
  }
});
