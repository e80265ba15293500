import koffi from 'koffi';

/** Negative numbers of `errno` (Linux, all architectures that Node runs on). */
export const EPERM = -1;
export const EINTR = -4;
export const EAGAIN = -11;
export const EMFILE = -24;
export const ENFILE = -23;

/** Events of epoll(7). */
export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;
export const EPOLLERR = 0x8;
export const EPOLLHUP = 0x10;
export const EPOLLRDHUP = 0x2000;
export const EPOLLET = 0x80000000;

const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;

const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const EFD_CLOEXEC = O_CLOEXEC;
const EFD_NONBLOCK = O_NONBLOCK;
const EPOLL_CLOEXEC = O_CLOEXEC;
const F_SETPIPE_SZ = 1031;
const F_DUPFD_CLOEXEC = 1030;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_MORE = 0x8000;
const FIONREAD = 0x541b;
const RLIMIT_NOFILE = 7;
const SPLICE_F_NONBLOCK = 0x2;
const SPLICE_F_MORE = 0x4;

/** The kernel packs its events on x86 only (`EPOLL_PACKED`). */
const packed = process.arch === 'x64' || process.arch === 'ia32';
const eventBytes = packed ? 12 : 16;
const dataOffset = packed ? 4 : 8;

/** What epoll_wait(2) has filled in. */
export class EpollEvents {
  readonly buffer: Buffer;
  readonly most: number;

  constructor(most: number) {
    this.most = most;
    this.buffer = Buffer.alloc(most * eventBytes);
  }

  flags(index: number): number {
    return this.buffer.readUInt32LE(index * eventBytes);
  }

  /** What was given with the descriptor, up to 2^32 - 1. */
  data(index: number): number {
    return this.buffer.readUInt32LE(index * eventBytes + dataOffset);
  }
}

/**
 * The system calls of the splice lane, through koffi. Results are those of the kernel: 0 or more, or a negative `errno`.
 * Nothing here blocks but `epollWait`. Throws where there is no such library: not on Linux, or with no koffi for it.
 */
export class Libc {
  readonly #fn = bind();
  readonly #pair = Buffer.alloc(8);
  readonly #count = Buffer.alloc(8);
  readonly #limit = Buffer.alloc(16);
  readonly #event = Buffer.alloc(eventBytes);

  /** Moves up to `bytes` between a pipe and a socket, in either direction. */
  splice(from: number, to: number, bytes: number, more: boolean): number {
    const flags = more ? SPLICE_F_NONBLOCK | SPLICE_F_MORE : SPLICE_F_NONBLOCK;
    return this.#result(this.#fn.splice(from, null, to, null, bytes, flags));
  }

  /** A copy of a descriptor, closed by exec(2). */
  dup(fd: number): number {
    return this.#result(this.#fn.fcntl(fd, F_DUPFD_CLOEXEC, 0));
  }

  close(fd: number): void {
    this.#fn.close(fd);
  }

  /** Both ends of a new pipe that never blocks, or the error. */
  pipe(): readonly [read: number, write: number] | number {
    const made = this.#result(this.#fn.pipe2(this.#pair, O_NONBLOCK | O_CLOEXEC));
    return made < 0 ? made : [this.#pair.readInt32LE(0), this.#pair.readInt32LE(4)];
  }

  /** Asks for room in a pipe. The result is what it has then: rounded up, or an error where the user has too many pages. */
  setPipeBytes(fd: number, bytes: number): number {
    return this.#result(this.#fn.fcntl(fd, F_SETPIPE_SZ, bytes));
  }

  write(fd: number, bytes: Uint8Array): number {
    return this.#result(this.#fn.write(fd, bytes, bytes.length));
  }

  /** @param more true: what follows at once may go into the same segment. */
  send(fd: number, bytes: Uint8Array, more: boolean): number {
    const flags = MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0);
    return this.#result(this.#fn.send(fd, bytes, bytes.length, flags));
  }

  read(fd: number, into: Uint8Array, bytes: number): number {
    return this.#result(this.#fn.read(fd, into, bytes));
  }

  /** From a socket. */
  receive(fd: number, into: Uint8Array, bytes: number): number {
    return this.#result(this.#fn.recv(fd, into, bytes, MSG_DONTWAIT));
  }

  /** Bytes that can be read from a socket now. */
  readableBytes(fd: number): number {
    const asked = this.#result(this.#fn.ioctl(fd, FIONREAD, this.#count));
    return asked < 0 ? asked : this.#count.readInt32LE(0);
  }

  /** How many descriptors this process may have open (`RLIMIT_NOFILE`). */
  mostDescriptors(): number {
    const asked = this.#result(this.#fn.getrlimit(RLIMIT_NOFILE, this.#limit));
    return asked < 0 ? 0 : Number(this.#limit.readBigUInt64LE(0));
  }

  epoll(): number {
    return this.#result(this.#fn.epoll_create1(EPOLL_CLOEXEC));
  }

  /** @param data comes back with each event; 0 to 2^32 - 1. */
  watch(epoll: number, fd: number, flags: number, data: number): number {
    this.#event.writeUInt32LE(flags >>> 0, 0);
    this.#event.writeUInt32LE(data, dataOffset);
    return this.#result(this.#fn.epoll_ctl(epoll, EPOLL_CTL_ADD, fd, this.#event));
  }

  /** Needed before a copy is closed: to epoll a socket lives on in the descriptor it was copied from. */
  unwatch(epoll: number, fd: number): void {
    this.#fn.epoll_ctl(epoll, EPOLL_CTL_DEL, fd, this.#event);
  }

  /** Blocks this thread. @param timeoutMs -1 = for ever. */
  epollWait(epoll: number, events: EpollEvents, timeoutMs: number): number {
    return this.#result(this.#fn.epoll_wait(epoll, events.buffer, events.most, timeoutMs));
  }

  eventfd(): number {
    return this.#result(this.#fn.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  }

  /** Wakes whoever waits for it; harmless when it is awake. */
  signal(eventfd: number): void {
    this.#count.writeBigUInt64LE(1n);
    this.#fn.write(eventfd, this.#count, 8);
  }

  /** Forgets the signals so far. */
  drain(eventfd: number): void {
    this.#fn.read(eventfd, this.#count, 8);
  }

  /** @param value a bigint only where it is larger than any result of these calls. */
  #result(value: number | bigint): number {
    return value < 0 ? -koffi.errno() : Number(value);
  }
}

type Native = (...args: readonly (number | null | Uint8Array)[]) => number | bigint;

function bind() {
  const library = koffi.load('libc.so.6');
  // `long` for what C calls ssize_t, and size_t: one register on every 64-bit Linux
  const declared = (prototype: string): Native => library.func(prototype);
  return {
    splice: declared('long splice(int, void *, int, void *, size_t, unsigned int)'),
    fcntl: declared('int fcntl(int, int, long)'),
    close: declared('int close(int)'),
    pipe2: declared('int pipe2(void *, int)'),
    read: declared('long read(int, void *, size_t)'),
    write: declared('long write(int, void *, size_t)'),
    send: declared('long send(int, void *, size_t, int)'),
    recv: declared('long recv(int, void *, size_t, int)'),
    ioctl: declared('int ioctl(int, unsigned long, void *)'),
    getrlimit: declared('int getrlimit(int, void *)'),
    epoll_create1: declared('int epoll_create1(int)'),
    epoll_ctl: declared('int epoll_ctl(int, int, int, void *)'),
    epoll_wait: declared('int epoll_wait(int, void *, int, int)'),
    eventfd: declared('int eventfd(unsigned int, int)'),
  };
}
