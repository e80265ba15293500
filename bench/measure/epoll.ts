import { arch } from 'node:process';
import { libc } from './libc.ts';

const EPOLLIN = 1;
const EPOLLOUT = 4;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;

/** struct epoll_event is packed on x86-64 only (epoll_ctl(2)). */
const eventBytes = arch === 'x64' ? 12 : 16;
const dataAt = arch === 'x64' ? 4 : 8;
const mostEvents = 256;

/** What is told when a descriptor is ready; an error or an end is told as readable. */
export interface Watcher {
  ready(writable: boolean): void;
}

/** Waits for descriptors, level-triggered, and blocks the event loop while it waits. */
export class Epoll {
  readonly #fd = libc.epollCreate();
  readonly #watchers = new Map<number, Watcher>();
  readonly #event = Buffer.alloc(eventBytes);
  readonly #events = Buffer.alloc(eventBytes * mostEvents);

  /** Each of them is told while it is readable, and if `writable` while it is writable. Called again, changes that. */
  watch(fd: number, watcher: Watcher, writable: boolean): void {
    this.#event.writeUInt32LE(writable ? EPOLLIN | EPOLLOUT : EPOLLIN, 0);
    this.#event.writeUInt32LE(fd, dataAt);
    libc.epollControl(this.#fd, this.#watchers.has(fd) ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, this.#event);
    this.#watchers.set(fd, watcher);
  }

  forget(fd: number): void {
    if (this.#watchers.delete(fd)) libc.epollControl(this.#fd, EPOLL_CTL_DEL, fd, this.#event);
  }

  /** Waits once, and tells all that are ready. */
  turn(): void {
    const count = libc.epollWait(this.#fd, this.#events, mostEvents);
    for (let i = 0; i < count; i += 1) {
      const at = i * eventBytes;
      const flags = this.#events.readUInt32LE(at);
      // one that was told before may have let go of this one
      this.#watchers.get(this.#events.readUInt32LE(at + dataAt))?.ready((flags & EPOLLOUT) !== 0);
    }
  }
}
