import assert from 'node:assert/strict';
import { createServer, type Server, type Socket } from 'node:net';
import { eventually } from '../support/eventually.ts';
import { ann, type RunningGateway, startGateway } from '../support/running-gateway.ts';

/** What an API writes for a request, piece after piece, each when the one before has gone through the gateway. */
type Script = (socket: Socket) => void;

const plain = (body: string): string => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n';

describe('answers that are plain, and others, on one connection to the API', () => {
  let server: Server;
  let gateway: RunningGateway;
  /** Of each request, in order. */
  let scripts: Script[];
  let connections: number;
  let heads: string[];
  const open = new Set<Socket>();

  beforeEach(async () => {
    scripts = [];
    connections = 0;
    heads = [];
    server = createServer((socket) => {
      connections += 1;
      open.add(socket);
      socket.on('close', () => open.delete(socket));
      socket.on('error', () => {});
      let said = '';
      socket.on('data', (bytes) => {
        said += bytes.toString('latin1');
        if (!said.includes('\r\n\r\n')) return;
        heads.push(said);
        said = '';
        scripts[heads.length - 1]?.(socket);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    gateway = await start({});
  });

  const start = (upload: { splice_from?: string }): Promise<RunningGateway> => {
    const address = server.address();
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
    return startGateway({
      upstream: { servers: [`http://127.0.0.1:${port}`], health: { interval: 0 }, response_timeout: 2 },
      upload,
      quota: { usage: { source: 'none' } },
    });
  };
  /** As by default: what is moved through the kernel costs its connection. */
  const streamSmallAnswers = async (): Promise<void> => {
    await gateway.stop();
    gateway = await start({ splice_from: '1MiB' });
  };

  afterEach(async () => {
    await gateway.stop();
    for (const socket of open) socket.destroy();
    server.close();
  });

  const ask = async (): Promise<{ status: number; body: string }> => {
    const answer = await fetch(`${gateway.url}/v2/other`, { headers: ann });
    return { status: answer.status, body: await answer.text() };
  };
  /** Each answer, and over how many connections they came. */
  const answers = async (...given: Script[]): Promise<unknown[]> => {
    scripts = given;
    const got: unknown[] = [];
    for (let i = 0; i < given.length; i += 1) {
      const { status, body } = await ask();
      got.push(status === 200 ? body : status);
    }
    return got;
  };
  const writes =
    (...pieces: string[]): Script =>
    (socket) => {
      const [first = '', ...rest] = pieces;
      socket.write(first);
      if (rest.length > 0) setTimeout(() => writes(...rest)(socket), 20);
    };

  it('are told apart one by one: no request is sent twice, and none needs another connection', async () => {
    await streamSmallAnswers();
    const scripted = [plain('one'), plain(''), chunked, plain('four'), chunked].map((each) => writes(each));
    assert.deepEqual(await answers(...scripted), ['one', '', 'abc', 'four', 'abc']);
    assert.deepEqual({ connections, heads: heads.length }, { connections: 1, heads: 5 });
  });

  it('come whole wherever they are cut', async () => {
    await streamSmallAnswers();
    const whole = plain('0123456789');
    const cuts = [1, 12, 17, whole.length - 10, whole.length - 1];
    const scripted = cuts.map((cut) => writes(whole.slice(0, cut), whole.slice(cut)));
    assert.deepEqual(
      await answers(...scripted),
      cuts.map(() => '0123456789'),
    );
    assert.equal(connections, 1);
  });

  it('are not read beyond their end: what nobody asked for ends the connection', async () => {
    scripts = [writes(plain('one')), writes(plain('two'))];
    assert.equal((await ask()).body, 'one');
    for (const socket of open) socket.write(plain('forged'));
    await eventually(() => open.size === 0, 'the gateway closes the connection');
    assert.equal((await ask()).body, 'two');
    assert.equal(connections, 2);
  });

  it('may come slowly, but not with a pause that is too long', async () => {
    const piece = '0123456789';
    const [head = ''] = plain(piece.repeat(4)).split(piece);
    const slow: Script = (socket) => {
      socket.write(head + piece);
      const rest = setInterval(() => {
        if (socket.bytesWritten < head.length + 3 * piece.length) return void socket.write(piece);
        clearInterval(rest);
        socket.write(piece);
      }, 800);
    };
    assert.deepEqual(await answers(slow), [piece.repeat(4)]);
    scripts = [() => {}, () => {}];
    assert.equal((await ask()).status, 504);
  });

  it('that end too early are no answers', async () => {
    const broken: Script = (socket) => socket.end(plain('0123456789').slice(0, -1));
    scripts = [broken];
    await assert.rejects(ask());
    assert.equal(heads.length, 1);
  });
});
