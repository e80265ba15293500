import type { Socket } from 'node:net';
import { GatewayError } from '../core/errors.ts';
import { GivenUp } from './give-up.ts';

/** The close of a client's connection, for which its request is given up. */
export class ClientDeparture extends GivenUp {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    super();
    this.#socket = socket;
    // Node does not tell the close of the connection to every response
    socket.on('close', this.#onClose);
  }

  /** The client may leave from now on. */
  end(): void {
    this.#socket.off('close', this.#onClose);
  }

  readonly #onClose = (): void => this.giveUp(clientGone());
}

export const clientGone = (): GatewayError =>
  new GatewayError('client-gone', 'The client closed the connection before it was answered.');
