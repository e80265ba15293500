import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/**
 * The descriptor under a socket, which stays the socket's. Null where the kernel does not see the bytes that are exchanged
 * (TLS), or where there is none: closed, or no socket of Node's own.
 */
export function descriptorOf(socket: Socket): number | null {
  if (socket instanceof TLSSocket || !(socket instanceof Socket) || socket.destroyed) return null;
  const handle: unknown = '_handle' in socket ? socket._handle : null;
  if (typeof handle !== 'object' || handle === null || !('fd' in handle)) return null;
  return typeof handle.fd === 'number' && handle.fd >= 0 ? handle.fd : null;
}

/** Node asks the kernel for nothing more of this socket, until its stream asks for more. */
export function stopReading(socket: Socket): void {
  const handle: unknown = '_handle' in socket ? socket._handle : null;
  if (typeof handle !== 'object' || handle === null) return;
  if (!('readStop' in handle) || typeof handle.readStop !== 'function') return;
  if ('reading' in handle) handle.reading = false;
  handle.readStop();
}
