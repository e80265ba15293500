import { once } from 'node:events';
import type { Server } from 'node:http';

/** A server that listens on a free port of loopback. */
export async function listening(server: Server): Promise<{ readonly port: number; stop(): Promise<void> }> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('it does not listen on TCP');
  return {
    port: address.port,
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
