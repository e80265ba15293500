import { connect } from 'node:net';
import type { ClientCase } from './client-case.ts';
import { type LegalRequest, legalRequests } from './legal-requests.ts';
import { letGo } from './let-go.ts';
import { type ResponseStream, readResponses } from './strict-response.ts';

/** What a client has seen when it is over. */
export interface Seen extends ResponseStream {
  readonly received: Buffer;
  /** What it asked, as its bytes say. */
  readonly legal: readonly LegalRequest[];
  readonly ended: 'fin' | 'reset' | 'enough' | 'hang';
}

/** Longer than any deadline of the gateway, with room for a machine that is busy. */
const patienceMs = 20_000;

/** Plays the client of a case and resolves when nothing more is to come. Never rejects. */
export async function playClient(port: number, fuzzCase: ClientCase): Promise<Seen> {
  const { pieces, address, farewell, waitsForContinue, requests } = fuzzCase;
  const legal = legalRequests(Buffer.concat(pieces));
  const methods = legal.map(({ method }) => method);
  const expected = Math.max(requests.length, legal.length);
  const socket = connect({
    ...{ port, host: '127.0.0.1', localAddress: address, allowHalfOpen: true, noDelay: true },
  });
  const arrived: Buffer[] = [];
  let ended: Seen['ended'] | null = null;
  let wake = (): void => {};
  const end = (how: Seen['ended']): void => {
    ended ??= how;
    wake();
  };
  socket.on('data', (bytes: Buffer) => {
    arrived.push(bytes);
    wake();
  });
  socket.on('end', () => {
    // libuv tells a reset that comes together with data as an end; only to one who has ended can be written
    if (socket.writableEnded) return end('reset');
    socket.write('\n', (error) => end(error ? 'reset' : 'fin'));
  });
  socket.on('error', () => end('reset'));
  const patience = setTimeout(() => end('hang'), patienceMs);
  const news = (): Promise<void> =>
    new Promise((resolve) => {
      wake = resolve;
    });
  const write = (bytes: Buffer): Promise<void> =>
    new Promise((resolve) => {
      if (socket.destroyed) resolve();
      else socket.write(bytes, () => resolve());
    });
  for (const [i, piece] of pieces.entries()) {
    if (ended !== null) break;
    await write(piece);
    if (i === 0 && waitsForContinue && arrived.length === 0 && ended === null) await news();
    else await new Promise(setImmediate);
  }
  if (farewell === 'fin') socket.end();
  else if (farewell === 'reset') {
    letGo(socket);
    end('reset');
  }
  let seen = readResponses(Buffer.concat(arrived), methods, false);
  while (ended === null) {
    if (seen.fault !== null || seen.responses.length >= expected) end('enough');
    else {
      await news();
      seen = readResponses(Buffer.concat(arrived), methods, false);
    }
  }
  clearTimeout(patience);
  // what is answered beyond what was asked is on its way by now
  if (ended === 'enough') await new Promise(setImmediate);
  letGo(socket);
  const received = Buffer.concat(arrived);
  return { ...readResponses(received, methods, ended === 'fin'), received, legal, ended };
}
