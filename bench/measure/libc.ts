import { endianness } from 'node:os';
import koffi, { type KoffiFunc } from 'koffi';

/**
 * System calls of Linux by FFI, for the load generator and the origin: bodies are thrown away in
 * the kernel, so that what is measured is the proxy. Blocking calls block the event loop: only for a process that
 * does nothing else.
 */
const library = koffi.load('libc.so.6');

type Pointer = Uint8Array | null;

const raw: {
  readonly socket: KoffiFunc<(domain: number, type: number, protocol: number) => number>;
  readonly bind: KoffiFunc<(fd: number, address: Uint8Array, bytes: number) => number>;
  readonly listen: KoffiFunc<(fd: number, backlog: number) => number>;
  readonly getsockname: KoffiFunc<(fd: number, address: Uint8Array, bytes: Uint8Array) => number>;
  readonly connect: KoffiFunc<(fd: number, address: Uint8Array, bytes: number) => number>;
  readonly accept4: KoffiFunc<(fd: number, address: Pointer, bytes: Pointer, flags: number) => number>;
  readonly setsockopt: KoffiFunc<
    (fd: number, level: number, name: number, value: Uint8Array, bytes: number) => number
  >;
  readonly recv: KoffiFunc<(fd: number, into: Pointer, bytes: number, flags: number) => number>;
  readonly send: KoffiFunc<(fd: number, from: Uint8Array, bytes: number, flags: number) => number>;
  readonly epoll_create1: KoffiFunc<(flags: number) => number>;
  readonly epoll_ctl: KoffiFunc<(epoll: number, operation: number, fd: number, event: Uint8Array) => number>;
  readonly epoll_wait: KoffiFunc<
    (epoll: number, events: Uint8Array, most: number, timeoutMs: number) => number
  >;
  readonly close: KoffiFunc<(fd: number) => number>;
} = {
  socket: library.func('int socket(int, int, int)'),
  bind: library.func('int bind(int, void *, uint32_t)'),
  listen: library.func('int listen(int, int)'),
  getsockname: library.func('int getsockname(int, void *, void *)'),
  connect: library.func('int connect(int, void *, uint32_t)'),
  accept4: library.func('int accept4(int, void *, void *, int)'),
  setsockopt: library.func('int setsockopt(int, int, int, void *, uint32_t)'),
  recv: library.func('int64_t recv(int, void *, size_t, int)'),
  send: library.func('int64_t send(int, void *, size_t, int)'),
  epoll_create1: library.func('int epoll_create1(int)'),
  epoll_ctl: library.func('int epoll_ctl(int, int, int, void *)'),
  epoll_wait: library.func('int epoll_wait(int, void *, int, int)'),
  close: library.func('int close(int)'),
};

/** Numbers of Linux's headers, the same on every architecture that Node runs on. */
const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const MSG_PEEK = 2;
const MSG_TRUNC = 0x20;
const MSG_NOSIGNAL = 0x4000;
const MSG_MORE = 0x8000;
const EAGAIN = koffi.os.errno.EAGAIN ?? 11;
const EINTR = koffi.os.errno.EINTR ?? 4;
const EINPROGRESS = koffi.os.errno.EINPROGRESS ?? 115;

/** What a call returns that would have to wait. */
export const wouldWait = -1;

/** A call that failed, other than that it would have to wait. */
export class SystemCallError extends Error {
  constructor(call: string, errno: number) {
    const name = Object.entries(koffi.os.errno).find(([, number]) => number === errno)?.[0];
    super(`${call}: ${name ?? `errno ${errno}`}`);
  }
}

/** @throws SystemCallError */
function checked(call: string, result: number): number {
  if (result >= 0) return result;
  const errno = koffi.errno();
  if (errno === EAGAIN || errno === EINTR) return wouldWait;
  throw new SystemCallError(call, errno);
}

/** struct sockaddr_in on 127.0.0.1. */
function loopback(port: number): Buffer {
  const address = Buffer.alloc(16);
  if (endianness() === 'BE') address.writeUInt16BE(AF_INET, 0);
  else address.writeUInt16LE(AF_INET, 0);
  address.writeUInt16BE(port, 2);
  address.set([127, 0, 0, 1], 4);
  return address;
}

const one = new Uint8Array(new Int32Array([1]).buffer);

/** Every function throws SystemCallError where the kernel says no; those that return a count may return `wouldWait`. */
export const libc = {
  /** A listening socket on 127.0.0.1; accepted ones do not block. Port 0 takes a free one. */
  listen(port: number): { readonly fd: number; readonly port: number } {
    const fd = checked('socket', raw.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    checked('setsockopt', raw.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, one, one.length));
    const address = loopback(port);
    checked('bind', raw.bind(fd, address, address.length));
    checked('listen', raw.listen(fd, 4096));
    const length = new Uint8Array(new Uint32Array([address.length]).buffer);
    checked('getsockname', raw.getsockname(fd, address, length));
    return { fd, port: address.readUInt16BE(2) };
  },

  /** A socket that does not block, without Nagle's delay. */
  accept(listener: number): number {
    const fd = checked('accept4', raw.accept4(listener, null, null, SOCK_NONBLOCK));
    if (fd !== wouldWait)
      checked('setsockopt', raw.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, one, one.length));
    return fd;
  },

  /** A socket that does not block, connected or about to be, to 127.0.0.1. */
  connect(port: number): number {
    const fd = checked('socket', raw.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    checked('setsockopt', raw.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, one, one.length));
    const address = loopback(port);
    if (raw.connect(fd, address, address.length) < 0 && koffi.errno() !== EINPROGRESS) {
      throw new SystemCallError('connect', koffi.errno());
    }
    return fd;
  },

  /** Reads without taking. @returns bytes; 0 at the end. */
  peek(fd: number, into: Uint8Array): number {
    return checked('recv', raw.recv(fd, into, into.length, MSG_PEEK));
  },

  /** Takes bytes and throws them away in the kernel. @returns how many; 0 at the end. */
  discard(fd: number, mostBytes: number): number {
    return checked('recv', raw.recv(fd, null, mostBytes, MSG_TRUNC));
  },

  /** @param more true: more follows at once, the kernel may wait for it. @returns bytes. */
  send(fd: number, bytes: Uint8Array, more = false): number {
    return checked('send', raw.send(fd, bytes, bytes.length, MSG_NOSIGNAL | (more ? MSG_MORE : 0)));
  },

  epollCreate(): number {
    return checked('epoll_create1', raw.epoll_create1(0));
  },

  epollControl(epoll: number, operation: number, fd: number, event: Uint8Array): void {
    checked('epoll_ctl', raw.epoll_ctl(epoll, operation, fd, event));
  },

  /** Blocks until something is ready. @param events room for `most`. @returns how many; `wouldWait` after a signal. */
  epollWait(epoll: number, events: Uint8Array, most: number): number {
    return checked('epoll_wait', raw.epoll_wait(epoll, events, most, -1));
  },

  close(fd: number): void {
    checked('close', raw.close(fd));
  },
};
