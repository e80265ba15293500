import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { MiB } from '../../src/core/units.ts';
import { eventually } from '../support/eventually.ts';
import type { RawClient, RawResponse } from '../support/raw-client.ts';
import { type Script, ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const frameBytes = 4 * MiB;
const chunked = 'Transfer-Encoding: chunked';

/** Letters only: a shift or a loss shows, and nothing in it looks like framing. */
function pattern(bytes: number): Buffer {
  const body = Buffer.allocUnsafe(bytes);
  for (let i = 0; i < bytes; i++) body[i] = 97 + ((i + Math.floor(i / 23)) % 23);
  return body;
}

/** The chunks of a recorded body, each whole; throws when the bytes are not a chunked body with its end. */
function framesOf(raw: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = raw.indexOf('\r\n', at);
    const line = raw.subarray(at, lineEnd).toString('latin1');
    assert.match(line, /^[0-9a-f]+$/, 'a size of a chunk stands where one is due');
    const size = Number.parseInt(line, 16);
    const data = raw.subarray(lineEnd + 2, lineEnd + 2 + size);
    at = lineEnd + 2 + size;
    assert.equal(raw.subarray(at, at + 2).toString('latin1'), '\r\n', 'a chunk ends with a line end');
    at += 2;
    if (size === 0) {
      assert.equal(at, raw.length, 'nothing follows the last chunk');
      return frames;
    }
    frames.push(data);
  }
}

const stores: Script = async (connection) => {
  await connection.bodyComplete();
  connection.answer('204 No Content');
};

describe('the framing of a body', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;

  before(async () => {
    upstream = await ScriptedUpstream.start(stores);
    sluice = await TestGateway.start(upstream.port, {
      quota: { usage: { source: 'none' } },
      // no client of these tests is slow, and no look at its image comes between, however slow the machine
      upload: { flush_after: '60s', watch_interval: 0 },
    });
  });

  after(async () => {
    await sluice.stop();
    await upstream.stop();
  });

  beforeEach(() => {
    upstream.connections.length = 0;
  });

  const only = (): UpstreamConnection => {
    const [connection, ...others] = upstream.connections;
    assert.equal(others.length, 0, 'one request is one connection');
    if (connection === undefined) throw new Error('nothing arrived');
    return connection;
  };

  const send = async (
    fields: readonly string[],
    write: (client: RawClient) => Promise<void>,
  ): Promise<RawResponse> => {
    const client = await sluice.client();
    await client.request(...uploadHead(randomUUID(), ...fields));
    const answer = client.response();
    answer.catch(() => {});
    await write(client);
    return answer;
  };

  for (const bytes of [0, 1, 64 * 1024, 9 * MiB + 5]) {
    it(`a known length of ${bytes} bytes goes up as Content-Length, with exactly these bytes`, async () => {
      const body = pattern(bytes);
      const answer = await send([`Content-Length: ${bytes}`], (client) => client.write(body));
      assert.equal(answer.status, 204);
      const { body: sent, head } = only();
      assert.match(head, new RegExp(`^content-length: ${bytes}$`, 'im'));
      assert.doesNotMatch(head, /transfer-encoding/i);
      assert.equal(sent.equals(body), true, 'the bytes are the same');
    });
  }

  describe('chunked with x-openstack-image-size', () => {
    const declared = 100_000;
    const fields = [chunked, `X-Openstack-Image-Size: ${declared}`];

    it('goes up with Content-Length and without chunks', async () => {
      const body = pattern(declared);
      const answer = await send(fields, async (client) => {
        await client.chunk(body.subarray(0, 1));
        await client.chunk(body.subarray(1));
        await client.chunk('');
      });
      assert.equal(answer.status, 204);
      assert.equal(only().header('content-length'), String(declared));
      assert.equal(only().header('transfer-encoding'), null);
      assert.equal(only().body.equals(body), true, 'the bytes are the same');
    });

    for (const [word, bytes] of [
      ['fewer', declared - 1],
      ['more', declared + 1],
    ] as const) {
      it(`${word} bytes than declared are refused with 400, and the upstream is cut off`, async () => {
        const body = pattern(bytes);
        const answer = await send(fields, async (client) => {
          await client.chunk(body.subarray(0, 10));
          // a reset may overtake what the upstream did not read yet
          await eventually(() => assert.equal(only().bodyBytes, 10), 'the first bytes arrive');
          await client.chunk(body.subarray(10));
          await client.chunk('');
        });
        assert.equal(answer.status, 400);
        assert.equal(JSON.parse(answer.body.toString()).code, 'size-mismatch');
        await only().closed;
        assert.equal(only().bodyBytes < declared, true, 'the upstream never had a whole body');
        assert.equal(sluice.gateway.savingBytes, 0);
      });
    }

    it('more bytes than declared are refused although the declared ones came first and alone', async () => {
      const answer = await send(fields, async (client) => {
        await client.chunk(pattern(declared));
        await eventually(
          () => assert.equal(only().bodyBytes, declared - 1),
          'all but the last byte has gone up',
        );
        await client.chunk('x');
        await client.chunk('');
      });
      assert.equal(answer.status, 400);
      assert.equal(JSON.parse(answer.body.toString()).code, 'size-mismatch');
      assert.equal(await only().closed, 'reset');
      assert.equal(only().bodyBytes, declared - 1);
      assert.equal(sluice.gateway.savingBytes, 0);
    });

    it('a body said to be empty that is not is refused, and never was whole upstream', async () => {
      const answer = await send([chunked, 'X-Openstack-Image-Size: 0'], async (client) => {
        await eventually(() => assert.equal(upstream.connections.length, 1), 'the head has gone up');
        await client.chunk('x');
        await client.chunk('');
      });
      assert.equal(answer.status, 400);
      assert.equal(JSON.parse(answer.body.toString()).code, 'size-mismatch');
      assert.equal(only().header('content-length'), null);
      assert.equal(await only().closed, 'reset');
      assert.equal(only().body.length, 0);
    });

    it('an empty body goes up as one, when its end has come', async () => {
      const answer = await send([chunked, 'X-Openstack-Image-Size: 0'], async (client) => {
        await eventually(() => assert.equal(upstream.connections.length, 1), 'the head has gone up');
        assert.equal(only().body.length, 0);
        await client.chunk('');
      });
      assert.equal(answer.status, 204);
      assert.equal(only().header('transfer-encoding'), 'chunked');
      assert.equal(only().body.toString(), '0\r\n\r\n');
    });
  });

  describe('unknown length', () => {
    const cuts: readonly (readonly [string, number, (client: RawClient, body: Buffer) => Promise<void>])[] = [
      [
        '1-byte chunks',
        frameBytes + 300_000,
        async (client, body) => {
          // 6 bytes of wire for each byte of the body, in writes of some 384 KiB
          for (let at = 0; at < body.length; at += 65_536) {
            const wire: string[] = [];
            for (const byte of body.subarray(at, at + 65_536))
              wire.push(`1\r\n${String.fromCharCode(byte)}\r\n`);
            await client.write(wire.join(''));
          }
        },
      ],
      ['one chunk of 9 MiB', 9 * MiB, (client, body) => client.chunk(body)],
      [
        'pieces of 64 KiB',
        9 * MiB + 5,
        async (client, body) => {
          for (let at = 0; at < body.length; at += 65_536) await client.chunk(body.subarray(at, at + 65_536));
        },
      ],
      [
        "pieces of 64 KiB up to a frame's very end",
        8 * MiB,
        async (client, body) => {
          for (let at = 0; at < body.length; at += 65_536) await client.chunk(body.subarray(at, at + 65_536));
        },
      ],
    ];
    for (const [name, bytes, write] of cuts) {
      it(`a fast client's ${name} go up in frames of exactly 4 MiB and a last partial one`, async function () {
        // four million chunks of a byte take Node's parser seconds, and a busy machine many
        this.timeout(60_000);
        const body = pattern(bytes);
        const answer = await send([chunked], async (client) => {
          await write(client, body);
          await client.chunk('');
        });
        assert.equal(answer.status, 204);
        assert.equal(only().header('transfer-encoding'), 'chunked');
        assert.equal(only().header('content-length'), null);
        const frames = framesOf(only().body);
        const whole: number[] = Array(Math.floor(bytes / frameBytes)).fill(frameBytes);
        const rest = bytes % frameBytes;
        assert.deepEqual(
          frames.map(({ length }) => length),
          rest === 0 ? whole : [...whole, rest],
        );
        assert.equal(Buffer.concat(frames).equals(body), true, 'the bytes are the same');
      });
    }

    it('a body of no bytes is one last chunk', async () => {
      const answer = await send([chunked], (client) => client.chunk(''));
      assert.equal(answer.status, 204);
      assert.equal(only().body.toString('latin1'), '0\r\n\r\n');
    });

    it('no frame is larger than frame_size', async () => {
      const small = await TestGateway.start(upstream.port, {
        quota: { usage: { source: 'none' } },
        upload: { frame_size: 10_000, watch_interval: 0 },
      });
      try {
        const body = pattern(1_000_001);
        const client = await small.client();
        await client.request(...uploadHead(randomUUID(), chunked));
        await client.chunk(body);
        await client.chunk('');
        assert.equal((await client.response()).status, 204);
        const frames = framesOf(only().body);
        assert.equal(Math.max(...frames.map(({ length }) => length)), 10_000);
        assert.equal(frames.length, 101);
        assert.equal(Buffer.concat(frames).equals(body), true, 'the bytes are the same');
      } finally {
        await small.stop();
      }
    });

    it('what a client left that fell silent is sent on long before flush_after', async () => {
      const patient = await TestGateway.start(upstream.port, {
        quota: { usage: { source: 'none' } },
        upload: { flush_after: '20s' },
      });
      try {
        const client = await patient.client();
        await client.request(...uploadHead(randomUUID(), chunked));
        await client.chunk('left');
        await eventually(
          () => assert.equal(upstream.connections[0]?.body.toString(), '4\r\nleft\r\n'),
          'it is sent on long before the 20 s are over',
        );
        await client.chunk('');
        assert.equal((await client.response()).status, 204);
      } finally {
        await patient.stop();
      }
    });

    it("a slow client's bytes are sent on after flush_after, without a full frame", async () => {
      const prompt = await TestGateway.start(upstream.port, {
        quota: { usage: { source: 'none' } },
        upload: { flush_after: '50ms' },
      });
      try {
        const client = await prompt.client();
        await client.request(...uploadHead(randomUUID(), chunked));
        let sent = '';
        for (const text of ['first', 'second', 'third']) {
          await client.chunk(text);
          sent += `${text.length.toString(16)}\r\n${text}\r\n`;
          await eventually(() => assert.equal(upstream.connections[0]?.body.toString(), sent), text);
        }
        await client.chunk('');
        assert.equal((await client.response()).status, 204);
        assert.equal(only().body.toString('latin1'), `${sent}0\r\n\r\n`);
      } finally {
        await prompt.stop();
      }
    });
  });
});
