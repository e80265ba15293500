import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, IncomingMessage, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { RequestParser } from '../../src/http/request-parser.ts';

// the kernel lane reads from it then: a byte that Node reads is missing there
describe('a connection of a request whose reading is stopped', () => {
  let server: Server;
  let client: Socket;

  beforeEach(async () => {
    server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(() => {
    client.destroy();
    server.closeAllConnections();
    server.close();
  });

  async function request(): Promise<IncomingMessage> {
    const address = server.address();
    client = connect(typeof address === 'object' ? (address?.port ?? 0) : 0, '127.0.0.1');
    client.on('error', () => {});
    const asked = once(server, 'request');
    client.write('PUT / HTTP/1.1\r\nHost: images\r\nContent-Length: 1000000\r\n\r\n');
    const [incoming]: unknown[] = await asked;
    if (!(incoming instanceof IncomingMessage)) throw new Error('there is no request');
    return incoming;
  }

  for (const [when, prepare] of [
    ['is read', async () => {}],
    [
      'is resumed in the same turn',
      async (socket: Socket) => {
        socket.pause();
        await turn();
        socket.resume();
      },
    ],
    [
      'was paused in the turn in which it was resumed, which its handle outlives',
      async (socket: Socket) => {
        socket.pause();
        await turn();
        socket.resume();
        socket.pause();
        await turn();
      },
    ],
  ] as const) {
    it(`gives Node nothing more where it ${when}`, async () => {
      const incoming = await request();
      const { socket } = incoming;
      const parser = RequestParser.of(incoming);
      if (parser === null) throw new Error('there is no parser');
      const { bytesRead } = socket;
      await prepare(socket);
      parser.stopReading();
      client.write(Buffer.alloc(100_000));
      for (let turns = 0; turns < 50; turns += 1) await turn();
      assert.equal(socket.bytesRead, bytesRead);
      parser.readOn();
      while (socket.bytesRead === bytesRead) await turn();
    });
  }
});
