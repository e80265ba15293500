import type { Socket } from 'node:net';
import { GatewayError } from '../core/errors.ts';

/** Says when something is to be given up: of an `AbortSignal` what is needed for that. */
export interface GiveUp {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** The close of a client's connection, for which its request is given up. No `AbortController`: each request needs one. */
export class ClientDeparture implements GiveUp {
  aborted = false;
  reason: GatewayError | null = null;
  readonly #socket: Socket;
  readonly #listeners = new Set<() => void>();

  constructor(socket: Socket) {
    this.#socket = socket;
    // Node does not tell the close of the connection to every response
    socket.on('close', this.#onClose);
  }

  addEventListener(_: 'abort', listener: () => void): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_: 'abort', listener: () => void): void {
    this.#listeners.delete(listener);
  }

  /** The client may leave from now on. */
  end(): void {
    this.#socket.off('close', this.#onClose);
  }

  readonly #onClose = (): void => {
    this.aborted = true;
    this.reason = clientGone();
    for (const listener of this.#listeners) listener();
  };
}

export const clientGone = (): GatewayError =>
  new GatewayError('client-gone', 'The client closed the connection before it was answered.');
