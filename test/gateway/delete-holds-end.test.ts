import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { eventually } from '../support/eventually.ts';
import type { RawClient, RawResponse } from '../support/raw-client.ts';
import { codeOf } from '../support/running-gateway.ts';
import { ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const bytes = 1000;
const body = Buffer.alloc(bytes, 'x');
const frames = `3e7\r\n${'x'.repeat(bytes - 1)}\r\n`;

interface Framing {
  readonly name: string;
  readonly fields: readonly string[];
  readonly chunked: boolean;
  /** Raw bytes that the API has of a body whose end it has not. */
  readonly allButEnd: (sent: number) => number;
}

/** What a client sends of a body in chunks but for its end comes in one frame here, or in two. */
const inFrames = (sent: number): number =>
  sent === bytes - 1 ? frames.length : frames.length + '1\r\nx\r\n'.length;

const framings: readonly Framing[] = [
  {
    name: 'of known length',
    fields: [`Content-Length: ${bytes}`],
    chunked: false,
    allButEnd: () => bytes - 1,
  },
  {
    name: 'of known length, in chunks',
    fields: ['Transfer-Encoding: chunked', `x-openstack-image-size: ${bytes}`],
    chunked: true,
    allButEnd: () => bytes - 1,
  },
  {
    name: 'of unknown length',
    fields: ['Transfer-Encoding: chunked'],
    chunked: true,
    allButEnd: inFrames,
  },
];

describe('a delete that is under way in the API', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;
  let image: string;

  beforeEach(async () => {
    image = randomUUID();
    upstream = await ScriptedUpstream.start((connection) => {
      // the image is there, whoever looks
      if (connection.head.startsWith('GET')) {
        connection.answer('200 OK\r\nConnection: close', '{"status":"saving"}');
      }
    });
    sluice = await TestGateway.start(upstream.port, {
      quota: { usage: { source: 'none' } },
      upload: { watch_interval: 0, flush_after: 0 },
    });
  });
  afterEach(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  const seen = (method: string): UpstreamConnection[] =>
    upstream.connections.filter(({ head }) => head.startsWith(method));
  const arrived = (method: string, count = 1): Promise<UpstreamConnection> =>
    eventually(() => seen(method)[count - 1] ?? null, `${method} ${count} reaches the API`);

  const beginUpload = async ({ fields }: Pick<Framing, 'fields'>): Promise<RawClient> => {
    const uploader = await sluice.client();
    await uploader.request(...uploadHead(image, ...fields));
    return uploader;
  };
  /** From the byte `from` on, to the end and with it where `to` is the whole. */
  const send = async (uploader: RawClient, { chunked }: Framing, from: number, to: number): Promise<void> => {
    if (!chunked) return uploader.write(body.subarray(from, to));
    await uploader.chunk(body.subarray(from, to));
    if (to === bytes) await uploader.chunk('');
  };
  const beginDelete = async (...fields: readonly string[]): Promise<RawClient> => {
    const deleter = await sluice.client();
    await deleter.request(`DELETE /v2/images/${image} HTTP/1.1`, 'Host: x', 'X-User-Id: eve', ...fields);
    return deleter;
  };
  const refused = '403 Forbidden\r\nConnection: close';
  const deleted = '204 No Content\r\nConnection: close';

  /** By now the gateway would have done what nothing holds it from: it has served other requests since. */
  const meanwhile = async (): Promise<void> => {
    for (let times = 0; times < 5; times += 1) await sluice.metric('sluice_connections');
  };
  const received = (count: number): Promise<unknown> =>
    eventually(async () => (await sluice.uploads()).some((row) => row.received_bytes === count));

  /** An upload all of whose body is here, and whose end is held by a delete. */
  const startHeld = async (
    framing: Framing,
  ): Promise<{
    uploader: RawClient;
    put: UpstreamConnection;
    deleter: RawClient;
    asked: UpstreamConnection;
  }> => {
    const uploader = await beginUpload(framing);
    await send(uploader, framing, 0, bytes - 1);
    const put = await arrived('PUT');
    await put.received(framing.allButEnd(bytes - 1));
    const deleter = await beginDelete();
    const asked = await arrived('DELETE');
    await send(uploader, framing, bytes - 1, bytes);
    await received(bytes);
    await stillHeld(put, framing);
    return { uploader, put, deleter, asked };
  };
  const stillHeld = async (put: UpstreamConnection, { allButEnd }: Framing): Promise<void> => {
    await meanwhile();
    await put.received(allButEnd(bytes));
    assert.equal(put.bodyBytes, allButEnd(bytes));
  };
  const nothingIsLeft = async (): Promise<void> => {
    await eventually(() => {
      assert.equal(sluice.gateway.uploadsUnderWay, 0);
      assert.equal(sluice.gateway.savingBytes, 0);
    });
  };
  const stores = async (put: UpstreamConnection, uploader: RawClient): Promise<void> => {
    await put.bodyComplete();
    put.answer('204 No Content');
    assert.equal((await uploader.response()).status, 204);
    await nothingIsLeft();
  };
  const told = ({ status, body: problem }: RawResponse): unknown => [status, codeOf(problem)];

  for (const framing of framings) {
    describe(`and an upload ${framing.name}`, () => {
      it('holds its end, and its 2xx ends the upload: the API never has it whole', async () => {
        const { uploader, put, deleter, asked } = await startHeld(framing);
        asked.answer(deleted);
        assert.equal((await deleter.response()).status, 204);
        assert.deepEqual(told(await uploader.response()), [410, 'image-deleted']);
        assert.equal(await put.closed, 'reset');
        assert.equal(put.bodyBytes, framing.allButEnd(bytes));
        await nothingIsLeft();
      });

      it('lets go of it when it is refused, and of those that come later', async () => {
        const { uploader, put, deleter, asked } = await startHeld(framing);
        asked.answer(refused);
        assert.equal((await deleter.response()).status, 403);
        await stores(put, uploader);
        const again = await beginUpload(framing);
        await send(again, framing, 0, bytes);
        await stores(await arrived('PUT', 2), again);
      });

      it('lets go of it when its answer is lost and the image is still there', async () => {
        const { uploader, put, deleter, asked } = await startHeld(framing);
        asked.reset();
        assert.equal((await deleter.response()).status, 502);
        await stores(put, uploader);
      });

      it('lets go of it with the head of its answer, whatever its deleter reads of that', async () => {
        const { uploader, put, asked } = await startHeld(framing);
        asked.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\n');
        await stores(put, uploader);
      });

      it('holds the end of one that begins meanwhile', async () => {
        await beginDelete();
        const asked = await arrived('DELETE');
        const uploader = await beginUpload(framing);
        await send(uploader, framing, 0, bytes - 1);
        const put = await arrived('PUT');
        await put.received(framing.allButEnd(bytes - 1));
        await send(uploader, framing, bytes - 1, bytes);
        await received(bytes);
        await stillHeld(put, framing);
        asked.answer(refused);
        await stores(put, uploader);
      });

      it('does not hold back another: that waits for the upload, which deletes without end do not stop', async () => {
        const { uploader, put, deleter, asked } = await startHeld(framing);
        const other = await beginDelete();
        await meanwhile();
        assert.equal(seen('DELETE').length, 1);
        asked.answer(refused);
        assert.equal((await deleter.response()).status, 403);
        await put.bodyComplete();
        await meanwhile();
        assert.equal(seen('DELETE').length, 1);
        await stores(put, uploader);
        (await arrived('DELETE', 2)).answer(deleted);
        assert.equal((await other.response()).status, 204);
      });

      it('does not keep an early answer from its client', async () => {
        const { uploader, put, asked } = await startHeld(framing);
        put.answer('413 Too Large', 'no');
        assert.equal((await uploader.response()).status, 413);
        await nothingIsLeft();
        asked.answer(refused);
      });

      it('does not keep an operator from ending it, whose bytes are back at once: it is not whole', async () => {
        const { uploader } = await startHeld(framing);
        const [row] = await sluice.uploads();
        assert.equal(await sluice.cancel(row?.id ?? ''), 204);
        await nothingIsLeft();
        assert.deepEqual(told(await uploader.response()), [409, 'cancelled']);
      });

      it('does not keep the gateway from its end', async () => {
        const { uploader } = await startHeld(framing);
        await sluice.gateway.stopNow();
        assert.equal(sluice.gateway.uploadsUnderWay, 0);
        assert.equal(sluice.gateway.savingBytes, 0);
        uploader.destroy();
      });

      it('leaves it whole though its client has gone since', async () => {
        const { uploader, put, asked } = await startHeld(framing);
        uploader.reset();
        await stillHeld(put, framing);
        asked.answer(refused);
        await put.bodyComplete();
        put.answer('204 No Content');
        await nothingIsLeft();
        await eventually(() =>
          assert.equal(sluice.lines.find(({ method }) => method === 'PUT')?.ending, 'stored'),
        );
      });

      it('waits for it where all of it is sent: the API is asked when it has answered that', async () => {
        const uploader = await beginUpload(framing);
        await send(uploader, framing, 0, bytes);
        const put = await arrived('PUT');
        await put.bodyComplete();
        const deleter = await beginDelete();
        await meanwhile();
        assert.equal(seen('DELETE').length, 0);
        put.answer('204 No Content');
        const asked = await arrived('DELETE');
        assert.equal(sluice.gateway.uploadsUnderWay, 0);
        asked.answer(deleted);
        assert.equal((await deleter.response()).status, 204);
        assert.equal((await uploader.response()).status, 204);
      });
    });
  }

  it('goes on to the API after a while, though that never answers an upload that it has whole', async function () {
    this.timeout(30_000);
    const framing = framings[0] ?? assert.fail();
    const uploader = await beginUpload(framing);
    await send(uploader, framing, 0, bytes);
    await (await arrived('PUT')).bodyComplete();
    const deleter = await beginDelete();
    while (seen('DELETE').length === 0) await sluice.metric('sluice_connections');
    seen('DELETE')[0]?.answer(deleted);
    assert.equal((await deleter.response()).status, 204);
    assert.deepEqual(told(await uploader.response()), [410, 'image-deleted']);
    await nothingIsLeft();
  });

  it('goes to the API though its deleter has left while it waited', async () => {
    const framing = framings[0] ?? assert.fail();
    const uploader = await beginUpload(framing);
    await send(uploader, framing, 0, bytes);
    const put = await arrived('PUT');
    await put.bodyComplete();
    const deleter = await beginDelete();
    await meanwhile();
    deleter.reset();
    await meanwhile();
    put.answer('204 No Content');
    (await arrived('DELETE')).answer(deleted);
    assert.equal((await uploader.response()).status, 204);
  });

  it('does not hold uploads of other images', async () => {
    const framing = framings[0] ?? assert.fail();
    const uploader = await beginUpload(framing);
    await send(uploader, framing, 0, bytes - 1);
    const put = await arrived('PUT');
    image = randomUUID();
    await beginDelete();
    await arrived('DELETE');
    await send(uploader, framing, bytes - 1, bytes);
    await stores(put, uploader);
  });

  it('is not under way while its own body is: nothing is held', async () => {
    const framing = framings[0] ?? assert.fail();
    const deleter = await beginDelete('Content-Length: 2');
    await deleter.write('a');
    await meanwhile();
    const uploader = await beginUpload(framing);
    await send(uploader, framing, 0, bytes);
    await stores(await arrived('PUT'), uploader);
    assert.equal(seen('DELETE').length, 0);
    await deleter.write('b');
    const asked = await arrived('DELETE');
    await asked.bodyComplete();
    assert.equal(asked.body.toString(), 'ab');
    asked.answer(deleted);
    assert.equal((await deleter.response()).status, 204);
  });

  describe('and an upload of no bytes', () => {
    const empty = { fields: ['Content-Length: 0'] };

    it('holds its head, which is all of it, and lets go of that when it is refused', async () => {
      const deleter = await beginDelete();
      const asked = await arrived('DELETE');
      const uploader = await beginUpload(empty);
      await eventually(() => sluice.gateway.uploadsUnderWay === 1);
      await meanwhile();
      assert.equal(seen('PUT').length, 0);
      asked.answer(refused);
      assert.equal((await deleter.response()).status, 403);
      await stores(await arrived('PUT'), uploader);
    });

    it('holds its head, and its 2xx ends the upload: the API never hears of it', async () => {
      const deleter = await beginDelete();
      const asked = await arrived('DELETE');
      const uploader = await beginUpload(empty);
      await eventually(() => sluice.gateway.uploadsUnderWay === 1);
      asked.answer(deleted);
      assert.equal((await deleter.response()).status, 204);
      assert.deepEqual(told(await uploader.response()), [410, 'image-deleted']);
      await nothingIsLeft();
      assert.equal(seen('PUT').length, 0);
    });

    it('waits for it where its head is sent', async () => {
      const uploader = await beginUpload(empty);
      const put = await arrived('PUT');
      const deleter = await beginDelete();
      await meanwhile();
      assert.equal(seen('DELETE').length, 0);
      put.answer('204 No Content');
      (await arrived('DELETE')).answer(deleted);
      assert.equal((await deleter.response()).status, 204);
      assert.equal((await uploader.response()).status, 204);
    });
  });
});
