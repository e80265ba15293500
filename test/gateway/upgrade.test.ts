import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defaultConfig } from '../../src/config/load.ts';
import { eventually } from '../support/eventually.ts';
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
    sluice = await TestGateway.start(upstream.port, {
      api,
      quota: { usage: { source: 'none' } },
      upstream: { response_timeout: '300ms' },
    });
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
    rmSync(folder, { recursive: true });
  });

  it('goes through on a route that allows it', async () => {
    const client = await sluice.client();
    await client.request(
      ...upgradeTo('/echo'),
      'X-Openstack-Request-Id: req-mine',
      'Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00',
    );
    await client.receive(17);
    assert.equal(client.unread.subarray(0, 17).toString(), 'HTTP/1.1 101 Swit');
    assert.match(client.unread.toString(), /^x-openstack-request-id: req-mine\r$/im);
    assert.match(client.unread.toString(), /^via: 1\.1 sluice\r$/im);
    assert.equal(upstream.connections.length, 1);
    const [connection] = upstream.connections;
    assert.equal(connection?.header('forwarded'), 'for=127.0.0.1;proto=http');
    const via = connection?.header('via') ?? '';
    assert.match(via, /^1\.1 sluice-[0-9a-f]{16}$/);
    assert.equal(connection?.header('x-openstack-request-id'), 'req-mine');
    assert.equal(
      connection?.header('traceparent'),
      '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00',
    );
    client.destroy();
    await eventually(() => assert.equal(sluice.lines.length, 1));
    assert.equal(sluice.lines[0]?.request_id, 'req-mine');
    assert.equal(sluice.lines[0]?.trace_id, '4bf92f3577b34da6a3ce929d0e0e4736');
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
      client.end();
      await eventually(() => assert.equal(sluice.lines.length, 1));
      assert.deepEqual(answer.headers.get('x-openstack-request-id'), [sluice.lines[0]?.request_id]);
      assert.equal(upstream.connections.length, 0);
    });
  }

  it('goes to several servers in turn, and one that refuses the connection is blamed', async () => {
    const other = await ScriptedUpstream.start((connection) => connection.answer('200 OK', 'no'));
    const servers = [upstream, other].map(({ port }) => `http://127.0.0.1:${port}`);
    sluice.gateway.reload(
      defaultConfig({
        api: join(folder, 'api.yaml'),
        upstream: { servers, health: { interval: 0, eject_after: 1, eject_time: '60s' } },
        quota: { usage: { source: 'none' } },
      }),
    );
    const upgraded = async (): Promise<number> => {
      const client = await sluice.client();
      await client.request(...upgradeTo('/echo'));
      await client.receive(17);
      const status = Number(client.unread.subarray(9, 12).toString());
      client.destroy();
      return status;
    };
    assert.deepEqual([await upgraded(), await upgraded()].toSorted(), [101, 200]);
    await other.stop();
    const statuses = [];
    for (let i = 0; i < 5; i += 1) statuses.push(await upgraded());
    assert.deepEqual(statuses.toSorted(), [101, 101, 101, 101, 502]);
  });

  it('that got through is one line, of its action and 101, when the connection ends', async () => {
    const client = await sluice.client();
    await client.request(...upgradeTo('/echo'));
    await client.receive(17);
    assert.equal(sluice.lines.length, 0);
    client.destroy();
    await eventually(() => assert.equal(sluice.lines.length, 1));
    const [line] = sluice.lines;
    assert.deepEqual([line?.action, line?.route, line?.status], ['pass', '/echo', 101]);
    assert.equal(await sluice.metric('sluice_requests_total{action="pass",status="1xx"}'), 1);
    await eventually(() => assert.equal(upstream.openSockets, 0), 'the upstream is let go');
  });

  it('that the upstream ends is ended for the client, after all that came', async () => {
    const client = await sluice.client();
    await client.request(...upgradeTo('/echo'));
    await eventually(() => upstream.connections.length === 1);
    upstream.connections[0]?.end();
    assert.equal(await client.closed, 'fin');
    assert.ok(client.unread.toString().endsWith('hello'), client.unread.toString());
  });

  it('that the upstream answers with anything else is answered with that', async () => {
    upstream.script = (connection) => {
      connection.write(
        'HTTP/1.1 403 No\r\nX-Openstack-Request-Id: req-api\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno!\r\n0\r\n\r\n',
      );
    };
    const client = await sluice.client();
    await client.request(...upgradeTo('/echo'));
    const answer = await client.response();
    assert.deepEqual([answer.status, answer.body.toString()], [403, 'no!']);
    assert.deepEqual(answer.headers.get('x-openstack-request-id'), ['req-api']);
    await eventually(() => assert.equal(sluice.lines[0]?.status, 403));
    assert.equal(sluice.lines[0]?.upstream_request_id, 'req-api');
  });

  it('that the upstream does not answer within response_timeout is answered 504', async () => {
    upstream.script = () => {};
    const client = await sluice.client();
    await client.request(...upgradeTo('/echo'));
    const answer = await client.response();
    assert.equal(answer.status, 504);
    assert.equal(JSON.parse(answer.body.toString()).code, 'upstream-timeout');
    await eventually(() => assert.equal(upstream.openSockets, 0), 'the upstream is let go');
    client.end();
    await eventually(() => assert.equal(sluice.lines[0]?.error, 'upstream-timeout'));
  });

  it('whose client resets before there is an answer is let go upstream, and nothing else ends', async () => {
    upstream.script = () => {};
    const bystander = await sluice.client();
    const client = await sluice.client();
    await client.request(...upgradeTo('/echo'));
    await eventually(() => upstream.connections.length === 1);
    client.reset();
    await eventually(() => assert.equal(upstream.openSockets, 0), 'the upstream is let go');
    await eventually(() => assert.equal(sluice.lines.length, 1));
    assert.deepEqual([sluice.lines[0]?.status, sluice.lines[0]?.error], [499, 'client-gone']);
    upstream.script = (connection) => connection.answer('200 OK');
    await bystander.request('GET /healthcheck HTTP/1.1', 'Host: x');
    assert.equal((await bystander.response()).status, 200);
  });

  it('that is refused may be reset by its client at any time, and nothing else ends', async () => {
    for (let i = 0; i < 20; i += 1) {
      const client = await sluice.client();
      await client.request(...upgradeTo('/images/cirros'));
      if (i % 2 === 0) await client.receive(1);
      client.reset();
    }
    await eventually(() => assert.equal(sluice.lines.length, 20));
    assert.deepEqual([...new Set(sluice.lines.map(({ action }) => action))], ['refused']);
    assert.equal(upstream.connections.length, 0);
  });

  it('that comes with a body is refused with an answer that can be read', async () => {
    const client = await sluice.client();
    const [line = '', ...fields] = upgradeTo('/images/cirros');
    await client.request(line.replace('GET', 'PUT'), ...fields, 'Content-Length: 2000000');
    await client.write(Buffer.alloc(2_000_000));
    assert.equal((await client.response()).status, 400);
  });

  it('behind a request that is not answered yet is not let through', async () => {
    upstream.script = () => {};
    const client = await sluice.client();
    await client.write(`GET /echo HTTP/1.1\r\nHost: x\r\n\r\n${upgradeTo('/echo').join('\r\n')}\r\n\r\n`);
    assert.notEqual(await client.closed, 'local');
    await eventually(() => assert.equal(sluice.lines.length, 2));
    assert.deepEqual(
      new Set(sluice.lines.map(({ error }) => error)),
      new Set(['upgrade-refused', 'client-gone']),
    );
  });
});
