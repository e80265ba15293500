import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { blockBytes } from '../../core/byte-queue.ts';
import {
  EINTR,
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLRDHUP,
  EpollEvents,
  Libc,
} from './libc.ts';
import { monotonicMs } from './monotonic.ts';
import type { Order, Report, TransferOrder } from './orders.ts';
import { PipePool } from './pipe-pool.ts';
import type { SharedMemory } from './shared-memory.ts';
import type { Staging } from './staging.ts';
import { Transfer, type TransferHost } from './transfer.ts';

const mostEvents = 256;

/** Comes back with the event of the descriptor that wakes the loop. */
const wakeData = 0xffffffff;

/** In case a signal to stop is lost: nobody waits for this thread for longer. */
const longestWaitMs = 10_000;

/** How often it is tried again whether the process may have another pipe, when nothing else happens. */
const pipelessWaitMs = 100;

interface Flush {
  readonly transfer: Transfer;
  readonly dueMs: number;
}

/**
 * Moves bodies between sockets, in a thread that does nothing else: its one blocking call is epoll_wait(2). Takes orders from
 * a port, of which an eventfd tells, and reports to it.
 */
export class SpliceLoop implements TransferHost {
  readonly libc = new Libc();
  readonly pipes: PipePool;
  readonly staging: Staging;
  nowMs = monotonicMs();
  readonly #memory: SharedMemory;
  readonly #port: MessagePort;
  readonly #wake: number;
  readonly #epoll: number;
  readonly #events = new EpollEvents(mostEvents);
  readonly #transfers = new Map<number, Transfer>();
  /** Those that have more to do than their turn allowed. */
  #queue: Transfer[] = [];
  readonly #pipeless = new Set<Transfer>();
  /** By time. */
  readonly #flushes: Flush[] = [];

  /** @throws Error where the kernel gives no epoll. */
  constructor(memory: SharedMemory, staging: Staging, port: MessagePort, wake: number) {
    this.staging = staging;
    this.#memory = memory;
    this.#port = port;
    this.#wake = wake;
    this.pipes = new PipePool(this.libc, memory);
    this.#epoll = this.libc.epoll();
    if (this.#epoll < 0) throw new Error(`epoll_create1: errno ${-this.#epoll}`);
    memory.listDescriptor(0, this.#epoll);
    this.libc.watch(this.#epoll, wake, EPOLLIN, wakeData);
  }

  /** Returns when it is told to stop; everything is closed then. */
  run(): void {
    this.#report({ kind: 'ready' });
    while (!this.#memory.stopped) {
      const count = this.libc.epollWait(this.#epoll, this.#events, this.#waitMs());
      if (count < 0 && count !== EINTR) throw new Error(`epoll_wait: errno ${-count}`);
      this.nowMs = monotonicMs();
      for (let i = 0; i < count; i += 1) this.#onEvent(this.#events.data(i), this.#events.flags(i));
      this.#flushDue();
      this.#runQueue();
    }
    for (const transfer of [...this.#transfers.values()]) {
      transfer.cancel();
      this.#settle(transfer);
    }
    this.pipes.close();
    this.libc.close(this.#epoll);
    this.#memory.listDescriptor(0, null);
  }

  get crowded(): boolean {
    const { heldBytes, mostHeldBytes } = this.#memory;
    return mostHeldBytes > 0 && heldBytes >= mostHeldBytes;
  }

  get roomBytes(): number {
    const { heldBytes, mostHeldBytes } = this.#memory;
    return mostHeldBytes > 0 ? Math.max(blockBytes, mostHeldBytes - heldBytes) : Infinity;
  }

  countHeld(bytes: number): void {
    this.#memory.heldBytes += bytes;
  }

  flushAt(transfer: Transfer, dueMs: number): void {
    let at = this.#flushes.length;
    // most wait equally long
    while (at > 0 && (this.#flushes[at - 1]?.dueMs ?? 0) > dueMs) at -= 1;
    this.#flushes.splice(at, 0, { transfer, dueMs });
  }

  awaitPipe(transfer: Transfer): void {
    this.#pipeless.add(transfer);
  }

  askForMore(slot: number): void {
    this.#report({ kind: 'more', slot });
  }

  #waitMs(): number {
    if (this.#queue.length > 0) return 0;
    const mostMs = this.#pipeless.size > 0 ? pipelessWaitMs : longestWaitMs;
    const [next] = this.#flushes;
    return next === undefined ? mostMs : Math.max(0, Math.min(mostMs, Math.ceil(next.dueMs - this.nowMs)));
  }

  #onEvent(data: number, flags: number): void {
    if (data === wakeData) {
      this.libc.drain(this.#wake);
      return this.#takeOrders();
    }
    const transfer = this.#transfers.get(data >>> 1);
    if (transfer === undefined) return;
    const isSink = (data & 1) === 1;
    if (isSink) {
      if ((flags & EPOLLOUT) !== 0) transfer.sinkWritable();
      if ((flags & (EPOLLERR | EPOLLHUP)) !== 0) transfer.sinkLost();
    } else {
      if ((flags & EPOLLIN) !== 0) transfer.sourceReadable();
      if ((flags & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) !== 0) transfer.sourceEnded((flags & EPOLLERR) !== 0);
    }
    this.#enqueue(transfer);
  }

  #takeOrders(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.#port);
      if (received === undefined) return;
      this.#obey(received.message);
    }
  }

  #obey(order: Order): void {
    if (order.kind === 'begin') return this.#begin(order);
    // what has ended meanwhile was reported, and the report crossed this
    const transfer = this.#transfers.get(order.slot);
    if (transfer === undefined) return;
    if (order.kind === 'cancel') transfer.cancel();
    else transfer.look();
    this.#enqueue(transfer);
  }

  #begin(order: TransferOrder): void {
    const { slot, source, sink } = order;
    const transfer = new Transfer(order, this.#memory.record(slot), this);
    this.#transfers.set(slot, transfer);
    this.libc.watch(this.#epoll, source, EPOLLIN | EPOLLRDHUP | EPOLLET, slot * 2);
    this.libc.watch(this.#epoll, sink, EPOLLOUT | EPOLLET, slot * 2 + 1);
    this.#enqueue(transfer);
  }

  #flushDue(): void {
    for (;;) {
      const [next] = this.#flushes;
      if (next === undefined || next.dueMs > this.nowMs) return;
      this.#flushes.shift();
      if (next.transfer.flush(next.dueMs)) this.#enqueue(next.transfer);
    }
  }

  #enqueue(transfer: Transfer): void {
    if (transfer.queued) return;
    transfer.queued = true;
    this.#queue.push(transfer);
  }

  /** One turn for each that has something to do; what is left of it comes after the next look at the sockets. */
  #runQueue(): void {
    const turn = this.#queue;
    this.#queue = [];
    for (const transfer of turn) {
      transfer.queued = false;
      const goesOn = transfer.step();
      if (transfer.end !== null) this.#settle(transfer);
      else if (goesOn) this.#enqueue(transfer);
    }
    if (this.#pipeless.size > 0) this.#offerPipes();
  }

  /** Somebody may have given one back; one is asked at each look at the sockets, and comes back here if it gets none. */
  #offerPipes(): void {
    const [first] = this.#pipeless;
    if (first === undefined) return;
    this.#pipeless.delete(first);
    first.look();
    this.#enqueue(first);
  }

  #settle(transfer: Transfer): void {
    const { slot, source, sink, end } = transfer;
    if (end === null || this.#transfers.get(slot) !== transfer) return;
    this.#transfers.delete(slot);
    this.#pipeless.delete(transfer);
    transfer.release();
    for (const fd of [source, sink]) {
      this.libc.unwatch(this.#epoll, fd);
      this.libc.close(fd);
    }
    this.#report({ kind: 'ended', slot, end, position: transfer.position });
  }

  #report(report: Report): void {
    this.#port.postMessage(report);
  }
}
