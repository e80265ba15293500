import type { Client } from './client.ts';

/** Between two looks at a client. One look takes less than a microsecond (measured, Node 20 and 24). */
const intervalMs = 50;

const nothing = Buffer.alloc(0);

/** All that are looked at, by one timer: each of its own cost a second of CPU per minute for a thousand held uploads. */
const looked = new Set<Client>();
let timer: NodeJS.Timeout | undefined;

/**
 * Looks, while nobody reads the body, whether the client has reset its connection, and ends the socket if so. Without
 * that nobody would know: a socket that is not read is not watched by Node either.
 *
 * The look is a write of no bytes: to a connection that was reset the kernel refuses even that, and to any other nothing is
 * sent. Under TLS it goes to the connection beneath: Node drops what the kernel says to an empty write of TLS. An orderly
 * end (FIN) behind unread bytes cannot be seen so; it is met when they are read. Nor can anything be on a unix socket.
 * @returns stops looking.
 */
export function probeClient(client: Client): () => void {
  looked.add(client);
  timer ??= setInterval(lookAtAll, intervalMs);
  return () => {
    looked.delete(client);
    if (looked.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
}

function lookAtAll(): void {
  for (const { request, socket, wire } of looked) {
    if (request.readableFlowing !== true && !request.complete && socket.writableLength === 0) {
      wire.write(nothing);
    }
  }
}
