// An API that takes every upload and throws its body away in the kernel, sends bodies from memory, and answers every other
// request with one image's record. One process, one thread, which blocks for ever in epoll. Argument: bytes of a download.
// Prints its port; then for each line on its input what it has seen so far.
import { readSync, writeSync } from 'node:fs';
import { BodyDiscard } from './body-discard.ts';
import { Epoll, type Watcher } from './epoll.ts';
import { imageRecord } from './image-record.ts';
import { libc, SystemCallError, wouldWait } from './libc.ts';
import { MessageHead } from './message-head.ts';
import type { OriginCounts } from './origin.ts';
import { WireBody } from './wire-body.ts';

const downloadBytes = Number(process.argv[2] ?? 0);
const body = new WireBody({ bytes: downloadBytes, frameBytes: 0 });
const counts: OriginCounts = { uploads: 0, uploadBytes: 0, downloads: 0, others: 0, broken: 0 };
const epoll = new Epoll();

/** Both ways of an answer's head: the second says that the connection ends, as whoever closes it has to. */
const heads = (lines: string, rest = ''): readonly [Buffer, Buffer] => [
  Buffer.from(`${lines}\r\n\r\n${rest}`),
  Buffer.from(`${lines}\r\nConnection: close\r\n\r\n${rest}`),
];
const lengthOf = (bytes: number): string => `Content-Length: ${bytes}`;
const answers = {
  stored: heads('HTTP/1.1 204 No Content'),
  record: heads(
    `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n${lengthOf(imageRecord.length)}`,
    imageRecord,
  ),
  download: heads(`HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n${lengthOf(downloadBytes)}`),
};

class Connection implements Watcher {
  readonly #fd: number;
  #request: MessageHead | null = null;
  #upload: BodyDiscard | null = null;
  /** Of this upload, in `counts` already. */
  #countedBytes = 0;
  /** Of a download; null: none is being sent. */
  #sentBytes: number | null = null;
  #waitsToWrite = false;

  constructor(fd: number) {
    this.#fd = fd;
    epoll.watch(fd, this, false);
  }

  ready(): void {
    try {
      while (this.#step());
    } catch (error) {
      counts.broken += 1;
      if (!(error instanceof SystemCallError)) process.stderr.write(`origin: ${String(error)}\n`);
      this.#close();
    }
  }

  /** @returns false when it has to wait. */
  #step(): boolean {
    if (this.#sentBytes !== null) return this.#sendOn(this.#sentBytes);
    if (this.#upload !== null) return this.#takeOn(this.#upload);
    const request = MessageHead.take(this.#fd);
    if (request === null) return false;
    if (request === 'end') {
      this.#close();
      return false;
    }
    this.#request = request;
    if (request.line.startsWith('GET ') && request.line.includes('/file ')) {
      counts.downloads += 1;
      libc.send(this.#fd, answers.download[request.closes ? 1 : 0], true);
      this.#sentBytes = 0;
    } else {
      this.#upload = new BodyDiscard(request.framing);
      this.#countedBytes = 0;
    }
    return true;
  }

  #takeOn(upload: BodyDiscard): boolean {
    const whole = upload.take(this.#fd);
    counts.uploadBytes += upload.bytes - this.#countedBytes;
    this.#countedBytes = upload.bytes;
    if (!whole) return false;
    this.#upload = null;
    const isUpload = this.#request?.line.startsWith('PUT ') ?? false;
    if (isUpload) counts.uploads += 1;
    else counts.others += 1;
    libc.send(this.#fd, answers[isUpload ? 'stored' : 'record'][this.#request?.closes ? 1 : 0]);
    return this.#answered();
  }

  #sendOn(fromByte: number): boolean {
    const sent = fromByte < body.wireBytes ? body.send(this.#fd, fromByte) : 0;
    this.#sentBytes = fromByte + sent;
    const whole = this.#sentBytes === body.wireBytes;
    if (!whole && sent > 0) return true;
    if (this.#waitsToWrite === whole) {
      this.#waitsToWrite = !whole;
      epoll.watch(this.#fd, this, this.#waitsToWrite);
    }
    if (!whole) return false;
    this.#sentBytes = null;
    return this.#answered();
  }

  #answered(): boolean {
    if (this.#request?.closes !== true) return true;
    this.#close();
    return false;
  }

  #close(): void {
    epoll.forget(this.#fd);
    libc.close(this.#fd);
  }
}

const { fd: listener, port } = libc.listen(0);
epoll.watch(
  listener,
  {
    ready() {
      for (let fd = libc.accept(listener); fd !== wouldWait; fd = libc.accept(listener)) new Connection(fd);
    },
  },
  false,
);
const line = Buffer.alloc(64);
epoll.watch(
  0,
  {
    ready() {
      if (readSync(0, line) === 0) process.exit(0);
      writeSync(1, `${JSON.stringify(counts)}\n`);
    },
  },
  false,
);
writeSync(1, `${port}\n`);
for (;;) epoll.turn();
