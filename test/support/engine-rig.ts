import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { descriptorOf } from '../../src/http/descriptor.ts';
import type { RunningTransfer, SpliceEngine, TransferRequest } from '../../src/lanes/kernel/splice-engine.ts';

/** An engine of the splice lane, and connections over loopback to try it on. */
export class EngineRig {
  readonly engine: SpliceEngine;
  readonly #server: Server;
  readonly #sockets: Socket[] = [];

  /** @param accept told of the far end of each connection. */
  static async start(accept: (socket: Socket) => void = () => {}): Promise<EngineRig> {
    // tests are loaded in a way in which the engine would not find its thread's file
    const { SpliceEngine } = await import('../../src/lanes/kernel/splice-engine.ts');
    const rig = new EngineRig(await SpliceEngine.start(), accept);
    rig.#server.listen(0, '127.0.0.1');
    await once(rig.#server, 'listening');
    return rig;
  }

  private constructor(engine: SpliceEngine, accept: (socket: Socket) => void) {
    this.engine = engine;
    this.#server = createServer((socket) => {
      this.#sockets.push(socket.on('error', () => {}));
      accept(socket);
    });
  }

  async open(): Promise<Socket> {
    const address = this.#server.address();
    const socket = connect(typeof address === 'object' ? (address?.port ?? 0) : 0, '127.0.0.1');
    this.#sockets.push(socket.on('error', () => {}));
    await once(socket, 'connect');
    return socket;
  }

  /** A body of known length, of which `prefix` was read already. */
  begin(
    source: Socket,
    sink: Socket,
    { prefix, bytes, allowedBytes }: { prefix: Buffer; bytes: number; allowedBytes: number },
  ): RunningTransfer {
    const [from, to] = [descriptorOf(source), descriptorOf(sink)];
    if (from === null || to === null) throw new Error('the socket has no descriptor');
    const request: TransferRequest = {
      source: from,
      sink: to,
      body: { framing: 'length', bytes },
      prefix,
      gate: null,
      chunkBytes: bytes,
      leastRate: null,
      allowedBytes,
      onMore: () => {},
    };
    const transfer = this.engine.begin(request);
    if (transfer === null) throw new Error('there is no room');
    return transfer;
  }

  async stop(): Promise<void> {
    await this.engine.kill();
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}
