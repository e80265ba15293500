import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { contenders } from '../../bench/contenders/contenders.ts';
import { proveBytes } from '../../bench/measure/byte-proof.ts';
import { type Contender, direct } from '../../bench/measure/contender.ts';
import { KiB } from '../../src/core/units.ts';

/** A relay in this process that may change what it passes, from the megabyte on: behind every head. */
function relay(towards: 'upstream' | 'client', change: (bytes: Buffer) => Buffer): Contender {
  return {
    name: 'relay',
    version: async () => '',
    async start({ originPort }) {
      const sockets = new Set<Socket>();
      const pass = (from: Socket, to: Socket, changes: boolean): void => {
        let passed = 0;
        sockets.add(from);
        from.on('error', () => to.destroy()).on('close', () => to.destroy());
        from.on('data', (bytes: Buffer) => {
          passed += bytes.length;
          const now = changes && passed > 1_000_000;
          if (now) changes = false;
          to.write(now ? change(bytes) : bytes);
        });
      };
      const server: Server = createServer((client) => {
        const upstream = connect(originPort, '127.0.0.1');
        pass(client, upstream, towards === 'upstream');
        pass(upstream, client, towards === 'client');
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const address = server.address();
      if (address === null || typeof address === 'string') throw new Error('it does not listen on TCP');
      return {
        port: address.port,
        pids: [],
        async stop() {
          for (const socket of sockets) socket.destroy();
          server.close();
          await once(server, 'close');
        },
      };
    },
  };
}

/** In the middle, where no frame begins: frames of 64 KiB begin with their size. */
const altered = (bytes: Buffer): Buffer => {
  const copy = Buffer.from(bytes);
  const at = copy.length >> 1;
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
};

const upload = { kind: 'upload', frameBytes: 0 } as const;
const chunkedUpload = { kind: 'upload', frameBytes: 64 * KiB } as const;
const download = { kind: 'download', frameBytes: 0 } as const;

describe('the proof that a contender passes bytes unchanged', () => {
  for (const what of [upload, chunkedUpload, download]) {
    const name = `${what.kind}${what.frameBytes > 0 ? ' of unknown length' : ''}`;

    it(`holds for whoever changes nothing, ${name}`, async () => {
      await proveBytes(direct, what);
      await proveBytes(
        relay('upstream', (bytes) => bytes),
        what,
      );
    });

    it(`catches one bit that is another, ${name}`, async () => {
      const towards = what.kind === 'upload' ? 'upstream' : 'client';
      await assert.rejects(proveBytes(relay(towards, altered), what), /other bytes have arrived/);
    });
  }

  it('catches two pieces that have changed places', async () => {
    const swapped = (bytes: Buffer): Buffer =>
      Buffer.concat([bytes.subarray(bytes.length >> 1), bytes.subarray(0, bytes.length >> 1)]);
    await assert.rejects(proveBytes(relay('upstream', swapped), upload), /other bytes have arrived/);
  });

  it('catches whoever answers by itself', async () => {
    const own = Buffer.from('HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    const busy: Contender = {
      ...relay('client', () => own),
      async start() {
        const server = createServer((client) => {
          client.on('error', () => {}).once('data', () => client.write(own));
        });
        server.listen(0, '127.0.0.1');
        await once(server, 'listening');
        const address = server.address();
        if (address === null || typeof address === 'string') throw new Error('it does not listen on TCP');
        return { port: address.port, pids: [], stop: async () => void server.close() };
      },
    };
    await assert.rejects(proveBytes(busy, download), /answered 503/);
  });

  for (const contender of contenders.filter(({ name }) => !name.startsWith('sluice'))) {
    it(`is given by ${contender.name}`, async () => {
      assert.equal((await contender.version()) === '', contender === direct);
      await proveBytes(contender, chunkedUpload);
    });
  }
});
