import { constants } from 'node:crypto';
import { Socket } from 'node:net';
import {
  createSecureContext,
  createServer,
  type SecureContextOptions,
  type Server,
  type TLSSocket,
} from 'node:tls';
import type { ListenerTls } from '../config/config.ts';
import { entryFor } from '../core/server-name.ts';

/** Far above any deadline of ours: the handshake is timed from the accept on, not by Node. */
const noTimeoutMs = 2 ** 31 - 1;

export interface TlsServerEvents {
  /** The handshake is over, and the client is whom it has to be. */
  secure(socket: TLSSocket, wire: Socket): void;
  failed(error: NodeJS.ErrnoException, socket: TLSSocket, wire: Socket): void;
}

/**
 * Makes TLS of connections that are given to it by `emit('connection', socket)`. It listens nowhere. Other
 * certificates are another server: connections that have begun keep theirs, and no session of before is resumed under
 * authorities that are not demanded any more.
 * @throws Error of the library where it does not accept a certificate.
 */
export function newTlsServer(
  { certificates, clientCa, minVersion }: ListenerTls,
  events: TlsServerEvents,
): Server {
  const contexts = certificates.map(
    ({ cert, key }): SecureContextOptions => ({
      cert,
      key,
      minVersion,
      // a client could ask for handshake after handshake, which cost us more than it
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
      ...(clientCa !== null && { ca: clientCa }),
    }),
  );
  const [first = {}, ...more] = contexts;
  const made = more.map((options) => createSecureContext(options));
  const server = createServer({
    ...first,
    ALPNProtocols: ['http/1.1'],
    requestCert: clientCa !== null,
    rejectUnauthorized: true,
    handshakeTimeout: noTimeoutMs,
    SNICallback: (name, done) => {
      const index = entryFor(name, certificates);
      done(null, index === 0 ? undefined : made[index - 1]);
    },
  });
  server.on('secureConnection', (socket) => {
    const wire = wireOf(socket);
    if (wire === null) socket.destroy();
    else events.secure(socket, wire);
  });
  server.on('tlsClientError', (error, socket) => {
    const wire = wireOf(socket);
    if (wire === null) socket.destroy();
    else events.failed(error, socket, wire);
  });
  return server;
}

/** The connection that TLS runs over. Node has no public word for it (docs/decisions/0013). */
function wireOf(socket: TLSSocket): Socket | null {
  const parent: unknown = Reflect.get(socket, '_parent');
  return parent instanceof Socket ? parent : null;
}
