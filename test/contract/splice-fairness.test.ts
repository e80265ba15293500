import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type FileHandle, open } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { descriptorOf } from '../../src/http/descriptor.ts';
import type { RunningTransfer, SpliceEngine, TransferRequest } from '../../src/lanes/kernel/splice-engine.ts';
import { eventually } from '../support/eventually.ts';

const slowOnes = 200;
const rounds = 5;
/** What a slow one sends at a time. */
const piece = 'few';
/** More than can pass while the test runs. */
const endlessBytes = 2 ** 52;

/** One connection over loopback, from both of its ends. */
interface Connection {
  readonly near: Socket;
  readonly far: Socket;
}

describe('the thread of the splice lane', () => {
  let engine: SpliceEngine;
  let server: Server;
  const sockets: Socket[] = [];
  const files: FileHandle[] = [];

  before(function () {
    if (process.platform !== 'linux') this.skip();
  });
  beforeEach(async () => {
    const { SpliceEngine } = await import('../../src/lanes/kernel/splice-engine.ts');
    engine = await SpliceEngine.start();
    server = createServer({ pauseOnConnect: true, noDelay: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(async () => {
    await engine?.kill();
    for (const socket of sockets.splice(0)) socket.destroy();
    for (const file of files.splice(0)) await file.close();
    server.close();
  });

  const connection = async (): Promise<Connection> => {
    const address = server.address();
    const accepted = once(server, 'connection');
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
    const near = connect({ port, host: '127.0.0.1', noDelay: true });
    const [far]: Socket[] = await accepted;
    if (far === undefined) throw new Error('nobody came');
    sockets.push(near, far);
    return { near, far };
  };

  const begin = (source: number | null, sink: number | null, more: Partial<TransferRequest>) => {
    if (source === null || sink === null) throw new Error('there is no descriptor');
    const transfer = engine.begin({
      source,
      sink,
      body: { framing: 'length', bytes: endlessBytes },
      prefix: new Uint8Array(0),
      gate: null,
      chunkBytes: 4 * 1024 * 1024,
      leastRate: null,
      allowedBytes: endlessBytes,
      onMore: () => {},
      ...more,
    });
    if (transfer === null) throw new Error('there is no room');
    return transfer;
  };

  /** Its source never runs dry and its sink takes everything, at once: it never waits for anything. */
  const fast = async (): Promise<RunningTransfer> => {
    const source = await open('/dev/zero', 'r');
    const sink = await open('/dev/null', 'w');
    files.push(source, sink);
    return begin(source.fd, sink.fd, {});
  };

  it(`brings ${slowOnes} slow bodies on while one never pauses, and that one too`, async () => {
    const slow: { readonly client: Socket; readonly transfer: RunningTransfer; receivedBytes: number }[] = [];
    for (let each = 0; each < slowOnes; each += 1) {
      const from = await connection();
      const to = await connection();
      const body = { framing: 'length', bytes: rounds * piece.length } as const;
      const transfer = begin(descriptorOf(from.far), descriptorOf(to.near), { body });
      const one = { client: from.near, transfer, receivedBytes: 0 };
      to.far.on('data', (bytes) => {
        one.receivedBytes += bytes.length;
      });
      to.far.resume();
      slow.push(one);
    }
    const endless = await fast();
    let beforeBytes = 0;
    for (let round = 1; round <= rounds; round += 1) {
      for (const { client } of slow) client.write(piece);
      await eventually(() => {
        const late = slow.filter(({ receivedBytes }) => receivedBytes < round * piece.length);
        assert.equal(late.length, 0, `${late.length} of ${slowOnes} wait in round ${round}`);
        assert.ok(endless.record.sentBytes > beforeBytes, 'the fast one moves');
      });
      beforeBytes = endless.record.sentBytes;
    }
    for (const { transfer } of slow) assert.equal((await transfer.ended)?.end.how, 'sent');
    endless.cancel();
    assert.equal((await endless.ended)?.end.how, 'cancelled');
  });

  it('begins and ends others while many never pause', async () => {
    const endless = [await fast(), await fast(), await fast(), await fast()];
    for (let each = 0; each < 20; each += 1) {
      const from = await connection();
      const to = await connection();
      const transfer = begin(descriptorOf(from.far), descriptorOf(to.near), {});
      to.far.resume();
      from.near.write(piece);
      await eventually(() => assert.equal(transfer.record.sentBytes, piece.length));
      transfer.cancel();
      assert.equal((await transfer.ended)?.end.how, 'cancelled');
    }
    for (const one of endless) {
      const sentBytes = one.record.sentBytes;
      await eventually(() => assert.ok(one.record.sentBytes > sentBytes, 'each goes on'));
    }
  });
});
