import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { KiB, MiB } from '../../src/core/units.ts';
import { callerHeaders } from './caller.ts';
import { CheckingOrigin } from './checking-origin.ts';
import type { Contender } from './contender.ts';
import { pattern } from './wire-body.ts';

/** No multiple of any buffer. */
const bodyBytes = 3 * MiB + 17;
/** At once, each with other bytes. */
const atOnce = 4;
/** On each connection, one after the other. */
const inTurn = 2;

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** What is to pass unchanged. */
export interface BytesToPass {
  readonly kind: 'upload' | 'download';
  /** Of an upload; 0: by its length. */
  readonly frameBytes: number;
}

/**
 * Shows that a contender passes the bytes of several bodies unchanged, some at once, some on a connection that is kept.
 * @throws Error that says what was changed or refused; ContenderUnavailable.
 */
export async function proveBytes(contender: Contender, what: BytesToPass): Promise<void> {
  const download = pattern(bodyBytes, 'download');
  const origin = await CheckingOrigin.start(download);
  try {
    const running = await contender.start({ originPort: origin.port });
    const agent = new Agent({ keepAlive: true, maxSockets: atOnce });
    try {
      const exchanges = Array.from({ length: atOnce * inTurn }, async (_, number) => {
        const target = `/v2/images/${randomUUID()}/file`;
        if (what.kind === 'upload') {
          const body = pattern(bodyBytes, `${number}:`);
          await exchange(agent, running.port, 'PUT', target, body, what.frameBytes);
          const arrived = origin.arrived(target);
          if (arrived === undefined) throw new Error('an upload was answered and has not arrived');
          if (arrived.bytes !== bodyBytes) {
            throw new Error(`${arrived.bytes} of ${bodyBytes} bytes have arrived`);
          }
          if (arrived.sha256 !== digest(body)) throw new Error('other bytes have arrived than were sent');
        } else {
          const body = await exchange(agent, running.port, 'GET', target, null, 0);
          if (body.length !== bodyBytes) throw new Error(`${body.length} of ${bodyBytes} bytes have arrived`);
          if (!body.equals(download)) throw new Error('other bytes have arrived than were sent');
        }
      });
      await Promise.all(exchanges);
    } finally {
      agent.destroy();
      await running.stop();
    }
  } finally {
    await origin.stop();
  }
}

/** @returns the body of the answer. @throws Error unless that is 2xx. */
async function exchange(
  agent: Agent,
  port: number,
  method: string,
  path: string,
  body: Buffer | null,
  frameBytes: number,
): Promise<Buffer> {
  const asked = request({ agent, host: '127.0.0.1', port, method, path, timeout: 10_000 });
  asked.on('timeout', () => asked.destroy(new Error('no answer within 10 s')));
  for (const [name, value] of Object.entries(callerHeaders)) asked.setHeader(name, value);
  const answered: Promise<[IncomingMessage]> = once(asked, 'response').then(([answer]) => [answer]);
  if (body !== null) {
    asked.setHeader('Content-Type', 'application/octet-stream');
    if (frameBytes > 0) asked.setHeader('Transfer-Encoding', 'chunked');
    else asked.setHeader('Content-Length', body.length);
    const pieceBytes = frameBytes > 0 ? frameBytes : 64 * KiB;
    for (let at = 0; at < body.length; at += pieceBytes) asked.write(body.subarray(at, at + pieceBytes));
  }
  asked.end();
  const [answer] = await answered;
  const parts: Buffer[] = [];
  for await (const part of answer) parts.push(Buffer.from(part));
  const { statusCode = 0 } = answer;
  if (statusCode < 200 || statusCode > 299) throw new Error(`it was answered ${statusCode}`);
  return Buffer.concat(parts);
}
