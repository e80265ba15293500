import type { Socket } from 'node:net';
import { GatewayError } from '../core/errors.ts';
import { refuseRaw } from './answer.ts';
import { newRequestId } from './request-id.ts';

/** Told at once at the most by one listener: each is a descriptor beyond `max_connections`. */
const mostFarewells = 256;

/**
 * How long a connection that was told stays, so that what its client sends does not make the kernel reset it before
 * the answer is read.
 */
const lingering = { timeMs: 2_000, bytes: 0 };

/** The 503 that is told to connections beyond `max_connections`, whatever they ask. */
export class Farewells {
  readonly #told = new Set<Socket>();

  /** Tells the client and closes soon. Where too many are being told it closes without a word. */
  tell(socket: Socket): void {
    if (this.#told.size >= mostFarewells) return void socket.destroy();
    socket.on('error', () => {});
    this.#told.add(socket);
    socket.once('close', () => this.#told.delete(socket));
    const error = new GatewayError(
      'overloaded',
      'As many connections are open as this gateway serves at once.',
    );
    refuseRaw(socket, error, newRequestId(), lingering);
  }

  /** Ends those that are being told now. */
  destroy(): void {
    for (const socket of this.#told) socket.destroy();
  }
}
