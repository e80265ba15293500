// Sends uploads or asks for downloads, over several connections at once, from one thread that blocks. For each line of its
// input, a `Load` as JSON, it prints a `LoadOutcome`; before that, where uploads are held, one line when they are, and waits
// for another.
import { randomUUID } from 'node:crypto';
import { readSync, writeSync } from 'node:fs';
import { BodyDiscard } from './body-discard.ts';
import { Epoll, type Watcher } from './epoll.ts';
import { libc } from './libc.ts';
import { type Load, type LoadOutcome, loadSchema } from './load.ts';
import { MessageHead } from './message-head.ts';
import { type BodyShape, WireBody } from './wire-body.ts';

/** Kept between loads: what is sent again is not made again. */
const bodies = new Map<string, WireBody>();

function bodyOf(shape: BodyShape): WireBody {
  const key = `${shape.bytes} ${shape.frameBytes}`;
  const made = bodies.get(key) ?? new WireBody(shape);
  bodies.set(key, made);
  return made;
}

const mostBeginning = 20;

/** One load, until every exchange of it has ended. */
class Run {
  readonly load: Load;
  readonly epoll = new Epoll();
  readonly body: WireBody;
  readonly failures = new Map<string, number>();
  answered = 0;
  bodyBytes = 0;
  /** Those that have sent what they may. */
  readonly held = new Set<Client>();
  #begun = 0;
  #ended = 0;

  constructor(load: Load) {
    this.load = load;
    this.body = bodyOf({ bytes: load.kind === 'upload' ? load.bodyBytes : 0, frameBytes: load.frameBytes });
  }

  /** Another exchange is to be begun. */
  takeOne(): boolean {
    if (this.#begun === this.load.exchanges) return false;
    this.#begun += 1;
    return true;
  }

  end(failure: string | null): void {
    this.#ended += 1;
    if (failure === null) this.answered += 1;
    else this.failures.set(failure, (this.failures.get(failure) ?? 0) + 1);
  }

  /** @param release waits until held uploads may go on. */
  outcome(release: () => void): LoadOutcome {
    const { connections, exchanges, heldBytes } = this.load;
    const beganMs = performance.now();
    const clients = Array.from({ length: connections }, () => new Client(this));
    if (heldBytes > 0) {
      // few at a time are on their way, so that no queue of a listener is full
      for (const [begun, client] of clients.entries()) {
        while (begun - this.held.size - this.#ended >= mostBeginning) this.epoll.turn();
        client.next();
      }
      while (this.held.size + this.#ended < exchanges) this.epoll.turn();
      release();
      for (const client of this.held) client.release();
    } else for (const client of clients) client.next();
    while (this.#ended < exchanges) this.epoll.turn();
    const wallMs = performance.now() - beganMs;
    const { answered, bodyBytes } = this;
    return { answered, bodyBytes, wallMs, failures: Object.fromEntries(this.failures) };
  }
}

/** One exchange after the other. */
class Client implements Watcher {
  readonly #run: Run;
  #fd: number | null = null;
  #head = Buffer.alloc(0);
  /** Of head and body. */
  #sentBytes = 0;
  #answer: MessageHead | null = null;
  #answerBody: BodyDiscard | null = null;
  #writable = false;
  #mostBodyBytes: number;

  constructor(run: Run) {
    this.#run = run;
    this.#mostBodyBytes = run.load.heldBytes || Number.POSITIVE_INFINITY;
  }

  /** Goes on after it was held. */
  release(): void {
    this.#mostBodyBytes = Number.POSITIVE_INFINITY;
    if (this.#fd === null) return;
    this.#writable = true;
    this.#run.epoll.watch(this.#fd, this, true);
  }

  next(): void {
    const { load, epoll } = this.#run;
    if (!this.#run.takeOne()) {
      this.#close();
      return;
    }
    const method = load.kind === 'upload' ? 'PUT' : 'GET';
    const framing =
      load.kind === 'download'
        ? []
        : load.frameBytes > 0
          ? ['Transfer-Encoding: chunked']
          : [`Content-Length: ${load.bodyBytes}`];
    const lines = [
      `${method} /v2/images/${randomUUID()}/file HTTP/1.1`,
      `Host: 127.0.0.1:${load.port}`,
      ...load.fields,
      ...(load.kind === 'upload' ? ['Content-Type: application/octet-stream'] : []),
      ...framing,
      ...(load.keepAlive ? [] : ['Connection: close']),
    ];
    this.#head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`);
    this.#sentBytes = 0;
    this.#answer = null;
    this.#answerBody = null;
    try {
      this.#fd ??= libc.connect(load.port);
      this.#writable = true;
      epoll.watch(this.#fd, this, true);
    } catch (error) {
      this.#fail(error);
    }
  }

  ready(writable: boolean): void {
    const fd = this.#fd;
    if (fd === null) return;
    try {
      // an answer may come before the body has been sent
      if (writable && this.#answer === null) this.#send(fd);
      this.#read(fd);
    } catch (error) {
      this.#fail(error);
    }
  }

  #send(fd: number): void {
    const { body, epoll } = this.#run;
    const mayBytes = this.#head.length + Math.min(body.wireBytes, this.#mostBodyBytes);
    while (this.#sentBytes < mayBytes) {
      const inHead = this.#sentBytes < this.#head.length;
      const sent = inHead
        ? Math.max(0, libc.send(fd, this.#head.subarray(this.#sentBytes), body.wireBytes > 0))
        : body.send(fd, this.#sentBytes - this.#head.length, mayBytes - this.#sentBytes);
      if (sent === 0) return;
      this.#sentBytes += sent;
    }
    if (this.#mostBodyBytes < body.wireBytes) this.#run.held.add(this);
    if (this.#writable) epoll.watch(fd, this, false);
    this.#writable = false;
  }

  #read(fd: number): void {
    if (this.#answer === null) {
      const answer = MessageHead.take(fd);
      if (answer === null) return;
      if (answer === 'end') throw new Error('the connection ended without an answer');
      this.#answer = answer;
      this.#answerBody = new BodyDiscard(answer.framing);
    }
    const body = this.#answerBody;
    if (body === null || !body.take(fd)) return;
    const { load } = this.#run;
    const [, status = ''] = this.#answer.line.split(' ');
    const whole = load.kind === 'upload' || body.bytes === load.bodyBytes;
    const sent = this.#sentBytes === this.#head.length + this.#run.body.wireBytes;
    const failure = !status.startsWith('2')
      ? `status ${status}`
      : !whole
        ? 'a body of another length'
        : !sent
          ? 'an answer before the end of the body'
          : null;
    if (failure === null) this.#run.bodyBytes += load.bodyBytes;
    if (failure !== null || !load.keepAlive || this.#answer.closes) this.#close();
    this.#run.end(failure);
    this.next();
  }

  #fail(error: unknown): void {
    this.#close();
    this.#run.end(error instanceof Error ? error.message : String(error));
    this.next();
  }

  #close(): void {
    if (this.#fd === null) return;
    this.#run.epoll.forget(this.#fd);
    libc.close(this.#fd);
    this.#fd = null;
  }
}

/** Whoever started this process may have made the input one that does not block. */
const input = new Epoll();
input.watch(0, { ready() {} }, false);
const chunk = Buffer.alloc(64 * 1024);
let told = '';

/** @returns null at the end of the input. */
function nextLine(): string | null {
  for (;;) {
    const end = told.indexOf('\n');
    if (end >= 0) {
      const line = told.slice(0, end);
      told = told.slice(end + 1);
      return line;
    }
    input.turn();
    const read = readSync(0, chunk);
    if (read === 0) return null;
    told += chunk.toString('utf8', 0, read);
  }
}

function release(): void {
  writeSync(1, 'held\n');
  nextLine();
}

for (let line = nextLine(); line !== null; line = nextLine()) {
  const load = loadSchema.parse(JSON.parse(line));
  writeSync(1, `${JSON.stringify(new Run(load).outcome(release))}\n`);
}
