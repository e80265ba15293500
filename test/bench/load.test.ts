import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { type Load, LoadGenerator } from '../../bench/measure/load.ts';
import { Origin } from '../../bench/measure/origin.ts';
import { pattern } from '../../bench/measure/wire-body.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import { listening } from './listening.ts';

describe('the load generator and the origin', () => {
  let origin: Origin;
  let generator: LoadGenerator;
  let load: Load;
  const downloadBytes = 5 * MiB + 3;

  before(async function () {
    if (process.platform !== 'linux') this.skip();
    origin = await Origin.start({ downloadBytes });
    generator = new LoadGenerator();
  });
  after(async () => {
    await generator?.stop();
    await origin?.stop();
  });
  beforeEach(() => {
    load = {
      port: origin.port,
      kind: 'upload',
      connections: 3,
      exchanges: 10,
      bodyBytes: 0,
      frameBytes: 0,
      keepAlive: true,
      heldBytes: 0,
      fields: ['X-User-Id: ann'],
    };
  });

  for (const bodyBytes of [0, 1, 64 * KiB, 3 * MiB + 17]) {
    for (const frameBytes of [0, 1_000, 64 * KiB, MiB]) {
      if (bodyBytes === 0 && frameBytes > 0) continue;
      it(`move bodies of ${bodyBytes} bytes, ${frameBytes === 0 ? 'by length' : `in frames of ${frameBytes}`}`, async () => {
        for (const keepAlive of [true, false]) {
          const before = await origin.counts();
          const outcome = await generator.run({ ...load, bodyBytes, frameBytes, keepAlive });
          const after = await origin.counts();
          assert.deepEqual(outcome.failures, {});
          assert.equal(outcome.answered, 10);
          assert.equal(outcome.bodyBytes, 10 * bodyBytes);
          assert.equal(after.uploads - before.uploads, 10);
          assert.equal(after.uploadBytes - before.uploadBytes, 10 * bodyBytes);
        }
      });
    }
  }

  it('send what is told, byte for byte, in the frames that are told', async () => {
    const bodyBytes = 200 * KiB + 5;
    const arrived: Buffer[] = [];
    const server = createServer(async (request, response) => {
      for await (const chunk of request) arrived.push(chunk);
      response.writeHead(204, { 'X-Framing': String(request.headers['transfer-encoding']) }).end();
    });
    const { port, stop } = await listening(server);
    try {
      const one = { ...load, port, exchanges: 1, connections: 1, bodyBytes };
      for (const frameBytes of [0, 64 * KiB]) {
        arrived.length = 0;
        const { answered } = await generator.run({ ...one, frameBytes });
        assert.equal(answered, 1);
        const body = Buffer.concat(arrived);
        assert.equal(body.length, bodyBytes);
        const once = pattern(64 * KiB);
        for (let at = 0; at < body.length; at += once.length) {
          const part = body.subarray(at, at + once.length);
          assert.equal(part.equals(once.subarray(0, part.length)), true, `from byte ${at}`);
        }
      }
    } finally {
      await stop();
    }
  });

  it('move downloads, and count one that is too short', async () => {
    const whole = await generator.run({ ...load, kind: 'download', bodyBytes: downloadBytes });
    assert.deepEqual([whole.answered, whole.bodyBytes, whole.failures], [10, 10 * downloadBytes, {}]);
    const short = await generator.run({ ...load, kind: 'download', bodyBytes: downloadBytes + 1 });
    assert.deepEqual([short.answered, short.failures], [0, { 'a body of another length': 10 }]);
  });

  it('hold uploads by half until they are released', async () => {
    const before = await origin.counts();
    const release = await generator.hold({
      ...load,
      connections: 50,
      exchanges: 50,
      bodyBytes: 10_000,
      heldBytes: 4_000,
    });
    let held = await origin.counts();
    while (held.uploadBytes - before.uploadBytes < 50 * 4_000) held = await origin.counts();
    assert.equal(held.uploadBytes - before.uploadBytes, 50 * 4_000);
    assert.equal(held.uploads, before.uploads);
    assert.equal((await release()).answered, 50);
    assert.equal((await origin.counts()).uploads - before.uploads, 50);
  });

  it('count what is refused, and what is not answered at all, by its reason', async () => {
    const refusing = createServer((request, response) => {
      request.resume().on('end', () => response.writeHead(503).end());
    });
    const { port, stop } = await listening(refusing);
    const refused = await generator.run({ ...load, port, bodyBytes: 10 });
    await stop();
    assert.deepEqual([refused.answered, refused.failures], [0, { 'status 503': 10 }]);
    const gone = await generator.run({ ...load, port, bodyBytes: 10 });
    assert.equal(gone.answered, 0);
    assert.equal(
      Object.values(gone.failures).reduce((sum, count) => sum + count, 0),
      10,
    );
  });
});
