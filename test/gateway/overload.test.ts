import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { WrittenOptions } from '../../src/config/options.ts';
import { Farewells } from '../../src/http/farewell.ts';
import { eventually } from '../support/eventually.ts';
import { FakeKeystone } from '../support/fake-keystone.ts';
import { RawClient, type RawResponse } from '../support/raw-client.ts';
import { codeOf, KiB, testConfig } from '../support/running-gateway.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const MiB = 1024 * KiB;

const chunked = 'Transfer-Encoding: chunked';

/** Half an upload of two bytes. */
const halfSent = 'Content-Length: 2';

describe('a gateway that has as much under way as it may', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;
  /** Uploads the API answers only when they are whole; everything else at once. */
  const whole = async (connection: Parameters<ScriptedUpstream['script'] & object>[0]): Promise<void> => {
    await connection.bodyComplete();
    const status = connection.head.startsWith('PUT') ? '204 No Content' : '200 OK';
    connection.answer(`${status}\r\nConnection: close`);
  };
  const start = async (changes: WrittenOptions): Promise<void> => {
    sluice = await TestGateway.start(upstream.port, {
      quota: { mode: 'off', usage: { source: 'none' } },
      ...changes,
      upload: { watch_interval: 0, flush_after: '60s', ...changes.upload },
    });
  };
  const upload = async (...fields: readonly string[]): Promise<RawClient> => {
    const client = await sluice.client();
    await client.request(...uploadHead(randomUUID(), ...fields));
    return client;
  };
  /** An upload that is under way, at the API too. */
  const held = async (): Promise<RawClient> => {
    const before = upstream.connections.length;
    const client = await upload(halfSent);
    await client.write('x');
    await eventually(() => upstream.connections.slice(before).some(({ bodyBytes }) => bodyBytes === 1));
    return client;
  };
  const finish = async (client: RawClient): Promise<void> => {
    await client.write('x');
    assert.equal((await client.response()).status, 204);
    client.destroy();
  };
  const get = async (client?: RawClient): Promise<RawResponse> => {
    const asking = client ?? (await sluice.client());
    await asking.request('GET /v2/images HTTP/1.1', 'Host: x');
    return await asking.response();
  };
  const refused = (answer: RawResponse): void => {
    assert.deepEqual([answer.status, codeOf(answer.body)], [503, 'overloaded']);
    assert.deepEqual(answer.headers.get('retry-after'), ['5']);
    assert.deepEqual(answer.headers.get('connection'), ['close']);
  };
  const refusals = (bound: string): Promise<number> =>
    sluice.metric(`sluice_overload_refusals_total{bound="${bound}"}`);
  const nothingHeld = async (): Promise<void> => {
    await eventually(async () => {
      assert.equal(await sluice.metric('sluice_buffered_bytes'), 0);
      assert.equal(await sluice.metric('sluice_uploads_in_flight'), 0);
    });
  };

  beforeEach(async () => {
    upstream = await ScriptedUpstream.start(whole);
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  describe('by max_uploads', () => {
    it('takes as many as it may and refuses one more, before a byte of its body and any 100 Continue', async () => {
      await start({ max_uploads: 2 });
      const running = [await held(), await held()];
      const third = await upload('Content-Length: 100', 'Expect: 100-continue');
      const answer = await third.response();
      refused(answer);
      assert.deepEqual(answer.informational, []);
      assert.equal(upstream.connections.length, 2, 'the API has not heard of it');
      assert.equal(await refusals('uploads'), 1);
      assert.equal((await get()).status, 200, 'other requests are served');
      for (const client of running) await finish(client);
      await nothingHeld();
      await finish(await held());
      assert.equal(sluice.lines.filter(({ error }) => error === 'overloaded').length, 1);
    });

    it('lets a client that is refused send on until it has read why', async () => {
      await start({ max_uploads: 1 });
      const running = await held();
      const second = await upload(`Content-Length: ${4 * MiB}`);
      void second.write(Buffer.alloc(2 * MiB));
      refused(await second.response());
      second.end();
      assert.notEqual(await second.closed, 'reset');
      await finish(running);
    });

    it('gives the place back however an upload ends, also when it never began', async () => {
      await start({ max_uploads: 1, upload: { max_size: 10 } });
      for (let i = 0; i < 3; i += 1) {
        const tooLarge = await upload('Content-Length: 11');
        assert.equal((await tooLarge.response()).status, 413);
        const gone = await held();
        gone.reset();
        await eventually(async () => assert.equal(await sluice.metric('sluice_uploads_in_flight'), 0));
      }
      await eventually(async () => finish(await held()));
      assert.equal(await sluice.metric('sluice_max_uploads'), 1);
    });

    it('has no limit where it is 0, and goes by what a reload says', async () => {
      await start({ max_uploads: 0 });
      const running = [await held(), await held()];
      assert.equal(await refusals('uploads'), 0);
      const upstreamUrl = `http://127.0.0.1:${upstream.port}`;
      sluice.gateway.reload(
        testConfig({
          max_uploads: 2,
          upstream: { servers: [upstreamUrl], health: { interval: 0 } },
          quota: { mode: 'off', usage: { source: 'none' } },
        }),
      );
      refused(await (await upload(halfSent)).response());
      for (const client of running) await finish(client);
      await nothingHeld();
      await finish(await held());
    });

    it('asks nobody who sends what it refuses', async () => {
      const keystone = await FakeKeystone.start();
      try {
        await start({
          max_uploads: 1,
          identity: { source: 'keystone', keystone: { url: keystone.url } },
        });
        const known = keystone.issue({ user: 'ann', project: 'blue' });
        const running = await upload(halfSent, `X-Auth-Token: ${known}`);
        await running.write('x');
        await eventually(() => upstream.connections.some(({ bodyBytes }) => bodyBytes === 1));
        const asked = keystone.validations;
        refused(await (await upload(halfSent, 'X-Auth-Token: another')).response());
        assert.equal(keystone.validations, asked);
        await finish(running);
      } finally {
        await keystone.stop();
      }
    });
  });

  describe('near a bound', () => {
    it('asks clients to close from nine tenths on, and no longer when it is below', async () => {
      await start({ max_uploads: 10 });
      const running: RawClient[] = [];
      for (let i = 0; i < 8; i += 1) running.push(await held());
      const idle = await sluice.client();
      assert.equal((await get(idle)).headers.get('connection')?.join(), 'keep-alive');
      running.push(await held());
      assert.deepEqual((await get(idle)).headers.get('connection'), ['close']);
      assert.equal(await idle.closed, 'fin');
      for (const client of running.splice(0, 2)) await finish(client);
      await eventually(async () => {
        assert.equal((await get()).headers.get('connection')?.join(), 'keep-alive');
      });
      for (const client of running) await finish(client);
    });
  });

  describe('by max_connections', () => {
    it('tells more clients than it serves, and throws away what they send until they have read it', async () => {
      await start({ max_connections: 1 });
      const served = await held();
      const others = await Promise.all(
        Array.from({ length: 5 }, async () => {
          const client = await sluice.client();
          client.pauseReading();
          await client.request(...uploadHead(randomUUID(), `Content-Length: ${5 * MiB}`));
          // more than the kernel holds: a reset would meet a client that still writes, and has not read yet
          for (let i = 0; i < 40; i += 1) await client.write(Buffer.alloc(128 * KiB));
          client.resumeReading();
          return client;
        }),
      );
      for (const client of others) refused(await client.response());
      assert.equal(await refusals('connections'), 5);
      assert.equal(upstream.connections.length, 1, 'the API has not heard of them');
      await finish(served);
      await eventually(async () => {
        const again = await sluice.client();
        assert.equal((await get(again)).status, 200);
      }, 'a place that is free again is served');
    });

    it('does not wait for those it is telling when it has to stop at once', async () => {
      await start({ max_connections: 1 });
      // another farewell, begun before, that nobody cuts short
      const server = createServer({ allowHalfOpen: true });
      await once(server.listen(0, '127.0.0.1'), 'listening');
      const { port } = z.object({ port: z.number() }).parse(server.address());
      const accepted = once(server, 'connection');
      const stranger = await RawClient.connect(port);
      const [socket] = await accepted;
      assert.ok(socket instanceof Socket);
      const ends: string[] = [];
      const over = once(socket, 'close').then(() => ends.push('farewell'));
      new Farewells().tell(socket);
      try {
        await sluice.client();
        refused(await (await sluice.client()).response());
        await sluice.gateway.stopNow();
        ends.push('stop');
        await over;
        assert.deepEqual(ends, ['stop', 'farewell']);
      } finally {
        stranger.destroy();
        server.close();
      }
    });
  });

  describe('by max_buffered', () => {
    const body = Buffer.alloc(8 * MiB, 'x');

    /** Uploads with nobody at the API who reads them, as many as it takes until they hold all there may be. */
    const fill = async (
      boundBytes: number,
      fieldsOf = (_: number): string => chunked,
    ): Promise<RawClient[]> => {
      const stuck: RawClient[] = [];
      upstream.script = (connection) => {
        if (connection.head.startsWith('PUT')) connection.stopReading();
        else connection.answer('200 OK\r\nConnection: close');
      };
      const heldBytes = (): Promise<number> => sluice.metric('sluice_buffered_bytes');
      while ((await heldBytes()) < boundBytes) {
        assert.ok(stuck.length < 40, 'it fills');
        const fields = fieldsOf(stuck.length);
        const before = upstream.connections.length;
        const client = await upload(fields);
        await eventually(() => upstream.connections.length > before);
        stuck.push(client);
        if (fields === chunked) {
          void client.chunk(body);
          void client.chunk('');
        } else void client.write(body);
        // what each holds is up to its kernel: it may be a byte
        let seen = '';
        await eventually(async () => {
          const rows = await sluice.uploads();
          const now = JSON.stringify(rows.map((row) => [row.received_bytes, row.sent_bytes]));
          const begun = rows.filter((row) => row.sent_bytes > 0).length === stuck.length;
          const still = now === seen && begun;
          seen = now;
          return still;
        });
      }
      return stuck;
    };

    it('lets running uploads go on with a block each, and takes no new one until bytes have left', async () => {
      await start({ max_buffered: '256KiB' });
      const running = await fill(256 * KiB);
      const [one, other] = await Promise.all([upload(halfSent), upload(chunked)]);
      refused(await one.response());
      refused(await other.response());
      assert.equal(await refusals('buffered'), 2);
      assert.equal((await get()).status, 200, 'what holds no body is served');
      const most = await sluice.metric('sluice_buffered_bytes');
      assert.equal(most <= 256 * KiB + running.length * 192 * KiB, true, `${most} bytes are held`);

      for (const connection of upstream.connections) connection.resumeReading();
      const puts = upstream.connections.filter(({ head }) => head.startsWith('PUT'));
      await Promise.all(puts.map((connection) => connection.bodyComplete()));
      for (const connection of puts) {
        assert.equal(unframed(connection.body).equals(body), true, 'the API has the body, byte for byte');
        connection.answer('204 No Content\r\nConnection: close');
      }
      for (const client of running) assert.equal((await client.response()).status, 204);
      await nothingHeld();
      upstream.script = whole;
      await finish(await held());
    });

    it('sends what an upload has instead of filling its frame, while others hold all there may be', async () => {
      await start({ max_buffered: '256KiB' });
      const other = await upload(chunked);
      await eventually(() => upstream.connections.length === 1);
      const stuck = await fill(256 * KiB);
      for (let pieces = 1; pieces <= 20; pieces += 1) {
        await other.chunk(Buffer.alloc(100 * KiB));
        await eventually(() => (upstream.connections[0]?.bodyBytes ?? 0) >= pieces * 100 * KiB);
      }
      await other.chunk('');
      assert.equal((await other.response()).status, 204);
      for (const client of stuck) client.reset();
      await nothingHeld();
    });

    it('leaves nothing behind of uploads that break off while it is full', async () => {
      await start({ max_buffered: '256KiB' });
      const running = await fill(256 * KiB, (count) =>
        count % 2 === 0 ? chunked : `Content-Length: ${body.length}`,
      );
      for (const client of running) client.reset();
      await nothingHeld();
    });

    it('holds bodies that are judged at the bound, and refuses the byte over it', async () => {
      const patch = JSON.stringify([{ op: 'replace', path: '/name', value: 'x'.repeat(200) }]);
      const patching = async (bytes: string): Promise<RawClient> => {
        const client = await sluice.client();
        await client.request(
          `PATCH /v2/images/${randomUUID()} HTTP/1.1`,
          'Host: x',
          'Content-Type: application/openstack-images-v2.1-json-patch',
          `Content-Length: ${patch.length}`,
        );
        await client.write(bytes);
        return client;
      };
      const heldBytes = (bytes: number) => async () =>
        assert.equal(await sluice.metric('sluice_buffered_bytes'), bytes);
      await start({ max_buffered: patch.length * 2 });
      const first = await patching(patch.slice(0, -1));
      await eventually(heldBytes(patch.length - 1));
      const second = await patching(patch.slice(0, -1));
      await eventually(heldBytes(2 * patch.length - 2));
      const third = await patching(patch.slice(0, 3));
      refused(await third.response());
      for (const client of [first, second]) {
        await client.write(patch.slice(-1));
        assert.equal((await client.response()).status, 200);
      }
      assert.equal(await refusals('buffered'), 1);
      await nothingHeld();
      assert.equal((await (await patching(patch)).response()).status, 200);
    });

    it('has no limit where it is 0', async () => {
      await start({ max_buffered: 0 });
      await finish(await held());
      assert.equal(await sluice.metric('sluice_max_buffered_bytes'), 0);
    });
  });

  it('measures how late its timers come', async () => {
    await start({});
    await eventually(async () => {
      // the reading before began anew, and what is measured begins with the next look
      await sleep(50);
      const until = performance.now() + 200;
      while (performance.now() < until);
      const worst = await sluice.metric('sluice_event_loop_delay_seconds{quantile="1"}');
      assert.equal(worst >= 0.1, true, `${worst} s`);
    });
  });
});

/** What a chunked body is when its frames are taken off. */
function unframed(framed: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const end = framed.indexOf('\r\n', at);
    const bytes = Number.parseInt(framed.subarray(at, end).toString(), 16);
    if (Number.isNaN(bytes)) throw new Error('the body is not whole');
    if (bytes === 0) return Buffer.concat(parts);
    parts.push(framed.subarray(end + 2, end + 2 + bytes));
    at = end + 2 + bytes + 2;
  }
}
