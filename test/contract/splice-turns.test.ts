import assert from 'node:assert/strict';
import { type FileHandle, open } from 'node:fs/promises';
import { type ChunkPosition, chunkStart } from '../../src/core/chunk-reader.ts';
import { KiB } from '../../src/core/units.ts';
import type { Transfer } from '../../src/lanes/kernel/transfer.ts';

/** What one turn takes apart, and what the last look brings beyond it. */
const mostBytes = 2 * 64 * KiB;

const shortest = Buffer.from('1\r\nx\r\n');
const many = Buffer.from(shortest.toString('latin1').repeat(4096), 'latin1');
const largeBytes = 64 * KiB;

describe('a turn of the splice lane', () => {
  let sink: FileHandle;
  let stop = (): void => {};

  before(function () {
    if (process.platform !== 'linux') this.skip();
  });
  beforeEach(async () => {
    sink = await open('/dev/null', 'w');
  });
  afterEach(async () => {
    stop();
    await sink?.close();
  });

  /** From a client of whom as much is there as anybody asks for: `first`, then chunks of one byte without end. */
  const begin = async (position: ChunkPosition, first: Buffer): Promise<Transfer> => {
    const { Libc } = await import('../../src/lanes/kernel/libc.ts');
    const { PipePool } = await import('../../src/lanes/kernel/pipe-pool.ts');
    const { SharedMemory } = await import('../../src/lanes/kernel/shared-memory.ts');
    const { Staging } = await import('../../src/lanes/kernel/staging.ts');
    const { Transfer } = await import('../../src/lanes/kernel/transfer.ts');
    const source = -1;
    let wire = first;
    const take = (bytes: number): Buffer => {
      while (wire.length < bytes) wire = Buffer.concat([wire, many]);
      const taken = wire.subarray(0, bytes);
      wire = wire.subarray(bytes);
      return taken;
    };
    class Endless extends Libc {
      override receive(_fd: number, into: Uint8Array, bytes: number): number {
        into.set(take(bytes));
        return bytes;
      }

      override splice(from: number, to: number, bytes: number, more: boolean): number {
        return from === source ? this.write(to, take(bytes)) : super.splice(from, to, bytes, more);
      }
    }
    const libc = new Endless();
    const memory = new SharedMemory(1);
    const record = memory.record(0);
    const declaredBytes = 2 ** 40;
    record.begin(0, declaredBytes, 0);
    const pipes = new PipePool(libc, memory);
    const intake = pipes.take();
    if (typeof intake === 'number') throw new Error('there is no pipe');
    const transfer = new Transfer(
      {
        kind: 'begin',
        slot: 0,
        source,
        sink: sink.fd,
        body: { framing: 'chunked', position, declaredBytes, maxBytes: 0, frameBytes: 1, flushAfterMs: 0 },
        prefix: new Uint8Array(0),
        gate: null,
        chunkBytes: declaredBytes,
        leastRate: null,
      },
      record,
      {
        libc,
        pipes,
        staging: new Staging(),
        intake: () => intake,
        nowMs: 0,
        crowded: false,
        roomBytes: Infinity,
        flushAt: () => {},
        awaitPipe: () => {},
        askForMore: () => {},
        countHeld: () => {},
      },
    );
    stop = () => {
      transfer.release();
      pipes.giveBack(intake);
      pipes.close();
    };
    return transfer;
  };

  const goesOn = (transfer: Transfer, beforeBytes: number): void => {
    let receivedBytes = beforeBytes;
    for (let turn = 0; turn < 64; turn += 1) {
      assert.equal(transfer.step(), true, 'there is more to do');
      const { receivedBytes: nowBytes } = transfer.record;
      assert.ok((nowBytes - receivedBytes) * shortest.length <= mostBytes, `turn ${turn}`);
      receivedBytes = nowBytes;
    }
    assert.ok(transfer.record.sentBytes > beforeBytes);
  };

  it('reads no more chunks of one byte than a few system calls are worth', async () => {
    goesOn(await begin(chunkStart, Buffer.alloc(0)), 0);
  });

  it('nor where they came along with a large one', async () => {
    const large = Buffer.concat([Buffer.alloc(largeBytes), Buffer.from('\r\n')]);
    const transfer = await begin({ ...chunkStart, phase: 'data', leftBytes: largeBytes }, large);
    assert.equal(transfer.step(), true);
    const beside = transfer.record.receivedBytes - largeBytes;
    assert.ok(beside * shortest.length <= mostBytes, `${beside} chunks`);
    goesOn(transfer, transfer.record.receivedBytes);
  });
});
