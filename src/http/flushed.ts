import type { Socket } from 'node:net';

/** Resolves when the kernel has all that was written to the socket, or the connection is gone. Leaves no listener behind. */
export async function flushed(socket: Socket): Promise<void> {
  if (socket.writableLength === 0 || socket.destroyed) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      socket.off('close', done);
      resolve();
    };
    socket.once('close', done);
    socket.write('', done);
  });
}
