import type { Socket } from 'node:net';

/** Resets a connection, or only closes it: one that has begun to end can no longer be reset (libuv), and would keep Node busy. */
export function letGo(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
