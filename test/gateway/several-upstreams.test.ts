import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { WrittenOptions } from '../../src/config/options.ts';
import { Gateway } from '../../src/gateway.ts';
import { rendezvousOrder } from '../../src/rendezvous.ts';
import { ApiNode, answerWell } from '../support/api-node.ts';
import { eventually } from '../support/eventually.ts';
import { LogLines } from '../support/log-lines.ts';
import { ann, RunningGateway, testConfig, uploadHead } from '../support/running-gateway.ts';

type Health = NonNullable<NonNullable<WrittenOptions['upstream']>['health']>;

describe('several upstream servers', () => {
  let nodes: ApiNode[];
  let log: LogLines;
  let gateway: RunningGateway;
  const stops: (() => Promise<void>)[] = [];

  const options = (servers: readonly ApiNode[], health: Health = {}): WrittenOptions => ({
    upstream: {
      servers: servers.map(({ origin }) => origin),
      health: { interval: 0, ...health },
      connect_timeout: 2,
    },
    upload: { watch_interval: 0 },
    quota: { usage: { source: 'none' } },
  });
  const startBefore = async (servers: readonly ApiNode[], health: Health = {}): Promise<RunningGateway> => {
    log = new LogLines();
    const inner = new Gateway(testConfig(options(servers, health)), log.log, 'test');
    await inner.start();
    const running = new RunningGateway(inner);
    stops.push(() => running.stop());
    return running;
  };
  const start = async (health: Health = {}): Promise<void> => {
    gateway = await startBefore(nodes, health);
  };
  const newNode = async (): Promise<ApiNode> => {
    const node = await ApiNode.start();
    stops.push(() => node.stop());
    return node;
  };
  const node = (index: number): ApiNode => {
    const found = nodes[index];
    assert.ok(found !== undefined, 'there are two nodes');
    return found;
  };
  const ask = async (request: string, body?: object, through = gateway): Promise<number> => {
    const [method = '', path = ''] = request.split(' ');
    const headers = { ...ann, 'Content-Type': 'application/json' };
    const answer = await fetch(`${through.url}${path}`, {
      method,
      headers,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    await answer.arrayBuffer();
    return answer.status;
  };
  const stage = async (image: string, through = gateway): Promise<number> => {
    const client = await through.client();
    await client.request(...uploadHead(image, ['Content-Length: 3'], ann, `/v2/images/${image}/stage`));
    await client.write('abc');
    const { status } = await client.response();
    client.destroy();
    return status;
  };
  const importing = (image: string, method = 'glance-direct', through = gateway): Promise<number> =>
    ask(`POST /v2/images/${image}/import`, { method: { name: method } }, through);
  const healthOf = ({ host }: ApiNode): Promise<number> =>
    gateway.metric(`sluice_upstream_healthy{server="${host}"}`);
  const retries = (reason: string): Promise<number> =>
    gateway.metric(`sluice_upstream_retries_total{reason="${reason}"}`);
  /** The nodes in the order of preference of an image. */
  const byPreference = (image: string): ApiNode[] =>
    rendezvousOrder(
      nodes.map(({ origin }) => origin),
      image,
    ).map((name) => nodes.find(({ origin }) => origin === name) ?? node(0));
  /** The image of a new id whose first server is this one. */
  const imageOf = (home: ApiNode): string => {
    for (;;) {
      const image = randomUUID();
      if (byPreference(image)[0] === home) return image;
    }
  };
  const messages = (): readonly unknown[] =>
    log
      .others()
      .map(({ msg, upstream }) => [msg, upstream])
      .filter(([, upstream]) => upstream !== undefined);

  beforeEach(async () => {
    nodes = [await newNode(), await newNode()];
  });
  afterEach(async () => {
    for (const stop of stops.splice(0).toReversed()) await stop();
  });

  describe('the choice', () => {
    it('sends each upload to the server with the fewest under way', async () => {
      await start();
      const perNode = async (): Promise<number[]> =>
        await Promise.all(
          nodes.map(({ host }) => gateway.metric(`sluice_upstream_uploads{server="${host}"}`)),
        );
      const clients = [];
      for (const expected of [1, 2, 3, 4]) {
        clients.push(await gateway.uploading(randomUUID(), ['Content-Length: 1']));
        await eventually(async () => (await gateway.uploads()).uploads.length === expected);
        await eventually(async () => {
          const [a = 0, b = 0] = await perNode();
          return a + b === expected && Math.abs(a - b) === expected % 2;
        }, `${expected} are spread evenly`);
      }
      const { uploads } = await gateway.uploads();
      const [first] = uploads;
      // the two of one server end: the next two go there
      for (const [i, { upstream }] of uploads.entries()) {
        if (upstream !== first?.upstream) continue;
        await clients[i]?.write('x');
        assert.equal((await clients[i]?.response())?.status, 204);
      }
      await eventually(async () => (await gateway.uploads()).uploads.length === 2);
      await gateway.put(randomUUID(), 1);
      const ended = nodes.find(({ host }) => host === first?.upstream);
      assert.equal(ended?.lines.length, 3);
      await eventually(async () => assert.deepEqual((await perNode()).toSorted(), [0, 2]));
    });

    it('sends other requests in turn', async () => {
      await start();
      for (let i = 0; i < 6; i += 1) assert.equal(await ask('GET /v2/images'), 200);
      assert.deepEqual(
        nodes.map(({ lines }) => lines.length),
        [3, 3],
      );
    });

    it('sends other requests to the server with fewer under way', async () => {
      await start();
      const held: (() => void)[] = [];
      node(0).answering = (heard, response) => held.push(() => answerWell(heard, response));
      const waiting = ask('GET /v2/images');
      const more = ask('GET /v2/images');
      await eventually(() => held.length === 1);
      await more;
      await ask('GET /v2/images');
      assert.deepEqual(
        nodes.map(({ lines }) => lines.length),
        [1, 2],
      );
      for (const release of held) release();
      assert.equal(await waiting, 200);
    });

    it('is in the line of the request', async () => {
      await start();
      await ask('GET /v2/images');
      await gateway.put(randomUUID(), 1);
      await eventually(() => log.requests().length === 2);
      const [get, put] = log.requests();
      assert.equal(get?.upstream, nodes.find(({ lines }) => lines[0]?.startsWith('GET'))?.host);
      assert.equal(put?.upstream, nodes.find(({ lines }) => lines.some((l) => l.startsWith('PUT')))?.host);
    });
  });

  describe('one image', () => {
    it('is staged, imported and deleted on one server, through any gateway and any order of the list', async () => {
      await start();
      const other = await startBefore(nodes.toReversed());
      const homes = new Set<ApiNode>();
      for (let i = 0; i < 12; i += 1) {
        const image = randomUUID();
        assert.equal(await stage(image), 204);
        assert.equal(await importing(image, 'glance-direct', other), 201);
        assert.equal(await ask(`DELETE /v2/images/${image}`, undefined, other), 200);
        const heard = nodes.filter(({ lines }) => lines.some((line) => line.includes(image)));
        assert.equal(heard.length, 1, 'one server heard of it');
        for (const each of heard) homes.add(each);
      }
      assert.equal(homes.size, 2, 'images are spread');
    });

    it('that had to be staged elsewhere is imported and deleted there, also when its first server is back', async () => {
      await start({ eject_after: 1, eject_time: '60s' });
      const [home, away] = [node(0), node(1)];
      const image = imageOf(home);
      await home.stop();
      assert.equal(await stage(image), 204);
      assert.equal(await stage(imageOf(home)), 204);
      await home.start();
      assert.equal(await importing(image), 201);
      assert.equal(await ask(`DELETE /v2/images/${image}`), 200);
      assert.deepEqual(
        away.lines.filter((line) => line.includes(image)),
        [`PUT /v2/images/${image}/stage`, `POST /v2/images/${image}/import`, `DELETE /v2/images/${image}`],
      );
    });

    it('is imported from where it is staged, whoever else has tried to stage it and was refused', async () => {
      await start({ eject_after: 0 });
      const [home, away] = [node(0), node(1)];
      const image = imageOf(home);
      await home.stop();
      assert.equal(await stage(image), 204);
      await home.start();
      home.answering = (_, response) => response.writeHead(404).end();
      assert.equal(await stage(image), 404);
      assert.equal(await importing(image), 201);
      assert.equal(away.lines.at(-1), `POST /v2/images/${image}/import`);
    });

    it('is imported from where it is staged or not at all, by other methods anywhere, and deleted anywhere', async () => {
      await start({ eject_after: 1, eject_time: '60s' });
      const [home, away] = [node(0), node(1)];
      const image = imageOf(home);
      assert.equal(await stage(image), 204);
      await home.stop();
      assert.equal(await importing(image), 502);
      assert.deepEqual(away.lines, []);
      assert.equal(await importing(image, 'web-download'), 201);
      assert.equal(await ask(`DELETE /v2/images/${image}`), 200);
      assert.equal(away.lines.length, 2);
      // it is out of the choice by now, and has the data all the same
      await home.start();
      assert.equal(await importing(image), 201);
      assert.equal(home.lines.at(-1), `POST /v2/images/${image}/import`);
    });

    it('that is being uploaded is deleted on the server that takes the upload', async () => {
      await start();
      for (const upload of [0, 1]) {
        const image = imageOf(node(0));
        const client = await gateway.uploading(image, ['Content-Length: 5']);
        await eventually(async () => (await gateway.uploads()).uploads.length === 1);
        const { uploads } = await gateway.uploads();
        assert.equal(await ask(`DELETE /v2/images/${image}`), 200, `upload ${upload}`);
        assert.equal((await client.response()).status, 410);
        const deleted = nodes.find(({ lines }) => lines.includes(`DELETE /v2/images/${image}`));
        assert.equal(deleted?.host, uploads[0]?.upstream);
      }
    });
  });

  describe('a server that is away', () => {
    it('costs no upload: the next one gets it whole, after one 100 Continue', async () => {
      await start({ eject_after: 0 });
      await node(0).stop();
      for (let i = 0; i < 4; i += 1) {
        const client = await gateway.uploading(randomUUID(), ['Content-Length: 3', 'Expect: 100-continue']);
        await client.receive(25);
        await client.write('abc');
        const answer = await client.response();
        assert.deepEqual([answer.status, answer.informational], [204, [100]]);
        client.destroy();
      }
      assert.deepEqual(
        node(1).heard.map(({ body }) => body),
        ['abc', 'abc', 'abc', 'abc'],
      );
      assert.equal(await retries('nowhere'), 2);
    });

    it('costs no other request, whatever its method, and none is sent twice', async () => {
      await start({ eject_after: 0 });
      await node(0).stop();
      const sent = ['GET', 'POST', 'PATCH', 'DELETE'].flatMap((method) => [method, method]);
      for (const [i, method] of sent.entries()) {
        const body = method === 'GET' || method === 'DELETE' ? undefined : { i };
        assert.equal(Math.floor((await ask(`${method} /v2/other/${i}`, body)) / 100), 2);
      }
      assert.deepEqual(
        node(1).lines,
        sent.map((method, i) => `${method} /v2/other/${i}`),
      );
      assert.deepEqual(
        node(1).heard.map(({ body }) => body),
        sent.map((method, i) => (method === 'POST' || method === 'PATCH' ? JSON.stringify({ i }) : '')),
      );
      assert.equal(await retries('nowhere'), 4);
    });

    it('is ejected after eject_after failures, and returns after eject_time', async () => {
      await start({ eject_after: 3, eject_time: '300ms' });
      const away = node(0);
      await away.stop();
      for (let i = 0; i < 20; i += 1) assert.equal(await ask('GET /v2/images'), 200);
      const ejections = `sluice_upstream_ejections_total{server="${away.host}"}`;
      assert.ok((await gateway.metric(ejections)) >= 1, 'it was ejected');
      assert.deepEqual(messages()[0], ['upstream ejected', away.host]);
      await away.start();
      await eventually(async () => (await healthOf(away)) === 1, 'it is on probation');
      await eventually(async () => {
        await ask('GET /v2/images');
        return away.lines.length > 0;
      });
      assert.deepEqual(messages().at(-1), ['upstream returned', away.host]);
    });

    it('is not tried while it is ejected', async () => {
      await start({ eject_after: 3, eject_time: '60s' });
      await node(0).stop();
      for (let i = 0; i < 20; i += 1) assert.equal(await ask('GET /v2/images'), 200);
      assert.equal(await retries('nowhere'), 3);
      assert.equal(await healthOf(node(0)), 0);
      assert.equal((await fetch(`${gateway.adminUrl}/readyz`)).status, 200);
    });

    it('is tried where all are ejected: the first that is back serves', async () => {
      await start({ eject_after: 1, eject_time: '60s' });
      for (const each of nodes) await each.stop();
      assert.equal(await ask('GET /v2/images'), 502);
      assert.deepEqual([await healthOf(node(0)), await healthOf(node(1))], [0, 0]);
      assert.equal((await fetch(`${gateway.adminUrl}/readyz`)).status, 503);
      await node(1).start();
      assert.equal(await ask('GET /v2/images'), 200);
      assert.equal((await gateway.put(randomUUID(), 1)).status, 204);
      assert.equal(await healthOf(node(1)), 1);
      assert.equal((await fetch(`${gateway.adminUrl}/readyz`)).status, 200);
    });

    it('is never ejected where it is the only one', async () => {
      gateway = await startBefore([node(0)], { eject_after: 1, eject_time: '60s' });
      await node(0).stop();
      assert.equal(await ask('GET /v2/images'), 502);
      assert.equal(await healthOf(node(0)), 1);
      assert.equal(await gateway.metric(`sluice_upstream_ejections_total{server="${node(0).host}"}`), 0);
    });
  });

  describe('a server that breaks connections', () => {
    it('costs no GET, which is sent to the next one', async () => {
      await start({ eject_after: 0 });
      node(0).answering = ({ socket }) => socket.destroy();
      for (let i = 0; i < 4; i += 1) assert.equal(await ask('GET /v2/images'), 200);
      assert.deepEqual([node(0).lines.length, node(1).lines.length, await retries('unanswered')], [2, 4, 2]);
    });

    it('costs a POST that it heard, which is not sent again', async () => {
      await start({ eject_after: 0 });
      node(0).answering = ({ socket }) => socket.destroy();
      const statuses = [await ask('POST /v2/other', {}), await ask('POST /v2/other', {})];
      assert.deepEqual(statuses.toSorted(), [201, 502]);
      assert.deepEqual([node(0).lines.length, node(1).lines.length, await retries('unanswered')], [1, 1, 0]);
    });

    it('costs a GET whose answer has begun', async () => {
      await start({ eject_after: 0 });
      node(0).answering = ({ socket }) => void socket.end('HTTP/1.1 200 O');
      const statuses = [await ask('GET /v2/images'), await ask('GET /v2/images')];
      assert.deepEqual(statuses.toSorted(), [200, 502]);
      assert.equal(await retries('unanswered'), 0);
    });

    it('is ejected for requests without an answer, and not for one that a client gave up', async () => {
      await start({ eject_after: 2, eject_time: '60s' });
      for (const each of nodes) each.answering = () => {};
      for (let i = 0; i < 6; i += 1) {
        const client = await gateway.client();
        await client.request('GET /v2/images HTTP/1.1', 'Host: x');
        await eventually(() => nodes.reduce((sum, { lines }) => sum + lines.length, 0) === i + 1);
        client.reset();
      }
      await eventually(() => assert.equal(log.requests().length, 6));
      assert.deepEqual([await healthOf(node(0)), await healthOf(node(1))], [1, 1]);
      node(0).answering = ({ socket }) => socket.destroy();
      node(1).answering = answerWell;
      for (let i = 0; i < 6; i += 1) assert.equal(await ask('GET /v2/images'), 200);
      assert.deepEqual([await healthOf(node(0)), await healthOf(node(1))], [0, 1]);
    });
  });

  it('at which all of them hang up ejects none: it is the request that is odd', async () => {
    await start({ eject_after: 1, eject_time: '60s' });
    for (const each of nodes) each.answering = ({ socket }) => socket.destroy();
    for (let i = 0; i < 2; i += 1) assert.equal(await ask('GET /v2/images'), 502);
    assert.deepEqual([await healthOf(node(0)), await healthOf(node(1))], [1, 1]);
  });

  it('are never all taken out by requests that are answered by a close and may not be sent twice', async () => {
    await start({ eject_after: 1, eject_time: '60s' });
    for (const each of nodes) each.answering = ({ socket }) => socket.destroy();
    for (let i = 0; i < 4; i += 1) {
      assert.equal(await ask('POST /v2/other', {}), 502);
      assert.equal((await gateway.put(randomUUID(), 1)).status, 502);
    }
    assert.equal((await healthOf(node(0))) + (await healthOf(node(1))), 1);
    assert.equal((await fetch(`${gateway.adminUrl}/readyz`)).status, 200);
  });

  it('are not judged by the status of an answer: 503 ejects nobody', async () => {
    await start({ eject_after: 1 });
    node(0).answering = (_, response) => response.writeHead(503).end();
    const statuses = [];
    for (let i = 0; i < 6; i += 1) statuses.push(await ask('GET /v2/images'));
    assert.deepEqual(statuses.toSorted(), [200, 200, 200, 503, 503, 503]);
    assert.equal(await healthOf(node(0)), 1);
  });

  it('are asked each by itself: one that fails its checks gets nothing, and readiness needs one that is well', async () => {
    let sick = new Set<ApiNode>([node(0)]);
    for (const each of nodes) {
      each.answering = (heard, response) => {
        if (heard.url === '/healthcheck' && sick.has(each)) response.writeHead(500).end();
        else answerWell(heard, response);
      };
    }
    await start({ interval: '20ms', unhealthy_after: 2 });
    const ready = async (): Promise<number> => (await fetch(`${gateway.adminUrl}/readyz`)).status;
    await eventually(async () => (await healthOf(node(1))) === 1);
    assert.equal(await ready(), 200);
    for (let i = 0; i < 4; i += 1) assert.equal(await ask('GET /v2/images'), 200);
    assert.deepEqual([node(0).lines.length, node(1).lines.length], [0, 4]);
    sick = new Set(nodes);
    await eventually(async () => (await ready()) === 503);
    assert.equal(await ask('GET /v2/images'), 200);
    sick = new Set();
    await eventually(async () => (await healthOf(node(0))) + (await healthOf(node(1))) === 2);
  });

  it('that are checked return from an ejection with the first check that succeeds', async () => {
    await start({ interval: '20ms', eject_after: 1, eject_time: '1h', unhealthy_after: 1000 });
    await eventually(async () => (await healthOf(node(0))) + (await healthOf(node(1))) === 2);
    await node(0).stop();
    for (let i = 0; i < 2; i += 1) assert.equal(await ask('GET /v2/images'), 200);
    await eventually(async () => (await healthOf(node(0))) === 0);
    await node(0).start();
    await eventually(async () => (await healthOf(node(0))) === 1);
    assert.deepEqual(messages().at(-1), ['upstream returned', node(0).host]);
  });

  it('that a reload names again keep what they have, removed ones end with what they have under way, new ones join', async () => {
    await start({ eject_after: 1, eject_time: '60s' });
    const [kept, removed] = [node(0), node(1)];
    const ejected = await newNode();
    await ejected.stop();
    gateway.gateway.reload(
      testConfig(options([kept, removed, ejected], { eject_after: 1, eject_time: '60s' })),
    );
    for (let i = 0; i < 6; i += 1) assert.equal(await ask('GET /v2/images'), 200);
    assert.equal(await healthOf(ejected), 0);
    const keptSockets = [...kept.sockets];
    assert.ok(keptSockets.length > 0, 'connections are kept');
    const uploads = [];
    while (uploads.length < 2) {
      const client = await gateway.uploading(randomUUID(), ['Content-Length: 1']);
      uploads.push(client);
      await eventually(async () => (await gateway.uploads()).uploads.length === uploads.length);
    }
    const added = await newNode();
    gateway.gateway.reload(
      testConfig(options([kept, ejected, added], { eject_after: 1, eject_time: '60s' })),
    );
    assert.equal(await healthOf(ejected), 0, 'it is as ill as before');
    assert.equal(await gateway.metric(`sluice_upstream_uploads{server="${kept.host}"}`), 1);
    for (let i = 0; i < 4; i += 1) assert.equal(await ask('GET /v2/images'), 200);
    assert.ok(added.lines.length > 0, 'the new one is asked');
    for (const client of uploads) {
      await client.write('x');
      assert.equal((await client.response()).status, 204);
    }
    await eventually(() => removed.sockets.size === 0, 'the connections to the removed one are closed');
    assert.deepEqual(
      keptSockets.filter((socket) => !kept.sockets.has(socket)),
      [],
      'connections to the kept one stay',
    );
    const { upstream, ...others } = options([kept, ejected], { eject_after: 1, eject_time: '60s' });
    gateway.gateway.reload(testConfig({ ...others, upstream: { ...upstream, response_timeout: 77 } }));
    assert.equal(await healthOf(ejected), 0, 'it is as ill as before');
    await eventually(() => keptSockets.every((socket) => !kept.sockets.has(socket)), 'by the old timeout');
  });

  it('cost, when one is killed under load, only what it had heard and may not be sent twice', async () => {
    await start({ eject_after: 3, eject_time: '60s' });
    const doomed = node(0);
    let alive = true;
    // what it hears while it dies is not answered
    doomed.answering = (heard, response) => {
      if (doomed.heard.length < 40) return answerWell(heard, response);
      if (!alive) return;
      alive = false;
      void doomed.stop();
    };
    const failed: string[] = [];
    let next = 0;
    const work = async (): Promise<void> => {
      for (;;) {
        const i = next;
        next += 1;
        if (i >= 240) return;
        const path = `/v2/other/${i}`;
        const put = i % 4 === 3;
        const method = ['GET', 'POST', 'DELETE'][i % 4] ?? 'PUT';
        const image = randomUUID();
        const status = put
          ? (await gateway.put(image, 3)).status
          : await ask(`${method} ${path}`, method === 'POST' ? {} : undefined);
        if (status >= 300) failed.push(put ? `PUT /v2/images/${image}/file` : `${method} ${path}`);
      }
    };
    await Promise.all(Array.from({ length: 8 }, work));
    assert.equal(alive, false, 'it died under load');
    const unanswered = doomed.lines.slice(39);
    assert.deepEqual(
      failed.filter((line) => line.startsWith('GET') || !unanswered.includes(line)),
      [],
      `it heard ${unanswered.join(', ')}`,
    );
    const lines = nodes.flatMap(({ lines }) => lines).filter((line) => !line.startsWith('GET'));
    assert.equal(new Set(lines).size, lines.length, 'nothing was sent twice');
    assert.ok(failed.length < 8, `${failed.length} of 240 failed`);
  });
});
