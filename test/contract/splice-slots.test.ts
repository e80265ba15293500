import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { descriptorOf } from '../../src/http/descriptor.ts';
import type { RunningTransfer, SpliceEngine } from '../../src/lanes/kernel/splice-engine.ts';

// each transfer has a slot of the memory that both threads share, and the next one may get the same
describe('the slot of a transfer that is over', () => {
  let engine: SpliceEngine;
  let server: Server;
  const sockets: Socket[] = [];

  before(async function () {
    if (process.platform !== 'linux') this.skip();
    const { SpliceEngine } = await import('../../src/lanes/kernel/splice-engine.ts');
    engine = await SpliceEngine.start();
  });
  after(() => engine?.kill());
  beforeEach(async () => {
    server = createServer((socket) => sockets.push(socket.on('error', () => {}))).listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
    server.close();
  });

  async function descriptor(): Promise<number> {
    const address = server.address();
    const socket = connect(typeof address === 'object' ? (address?.port ?? 0) : 0, '127.0.0.1');
    sockets.push(socket.on('error', () => {}));
    await once(socket, 'connect');
    const fd = descriptorOf(socket);
    if (fd === null) throw new Error('the socket has no descriptor');
    return fd;
  }

  /** Sends its prefix, and waits for more bytes than that. */
  async function begin(prefix: string): Promise<() => RunningTransfer> {
    const [source, sink] = [await descriptor(), await descriptor()];
    return () => {
      const transfer = engine.begin({
        source,
        sink,
        body: { framing: 'length', bytes: 1_000 },
        prefix: Buffer.from(prefix),
        gate: null,
        chunkBytes: 1_000,
        leastRate: null,
        allowedBytes: 10,
        onMore: () => {},
      });
      if (transfer === null) throw new Error('there is no room');
      return transfer;
    };
  }

  it('is not written to by a late leave for more bytes', async () => {
    const [one, other] = [await begin('first'), await begin('second')];
    const over = one();
    over.cancel();
    await over.ended;
    await new Promise((resolve) => setImmediate(resolve));
    const next = other();
    over.allow(1_000_000);
    assert.equal(next.record.allowedBytes, 10);
    next.cancel();
    await next.ended;
  });

  it('keeps its counts until whoever waited for its end has read them', async () => {
    const [one, other] = [await begin('first'), await begin('second')];
    const over = one();
    // in line before the one that waits below, as another upload whose turn comes in the same tick
    const next = over.ended.then(other);
    over.cancel();
    await over.ended;
    assert.equal(over.record.receivedBytes, 'first'.length);
    (await next).cancel();
    await (await next).ended;
  });
});
