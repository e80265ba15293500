import { createCipheriv, createHash } from 'node:crypto';
import { KiB } from '../../src/core/units.ts';
import { libc, wouldWait } from './libc.ts';

/**
 * A body is sent from a buffer of this size, again and again: it stays in the processor's cache. sendfile(2) from memory
 * took no less CPU here, and its reader more: each page of 4 KiB is passed by itself. It also gives a proxy the packets that
 * an ordinary client's send(2) gives.
 */
const periodBytes = 64 * KiB;

/** How a body is sent: by its length, or in frames of so many bytes. */
export interface BodyShape {
  readonly bytes: number;
  /** 0: by its length. */
  readonly frameBytes: number;
}

/** Bytes without a period, so that one that is lost, doubled or in the wrong place is seen; others with another seed. */
export function pattern(bytes: number, seed = ''): Buffer {
  const key = createHash('sha256').update(seed).digest().subarray(0, 16);
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(bytes));
}

/** The same data as it looks on the wire. */
export function framed(data: Buffer, frameBytes: number): Buffer {
  if (frameBytes === 0) return data;
  const parts: (Buffer | string)[] = [];
  for (let at = 0; at < data.length; at += frameBytes) {
    const frame = data.subarray(at, at + frameBytes);
    parts.push(`${frame.length.toString(16)}\r\n`, frame, '\r\n');
  }
  return Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
}

/** A body on the wire: a part that is sent again and again, then the rest. */
export class WireBody {
  readonly wireBytes: number;
  readonly #part: Buffer;
  readonly #rest: Buffer;
  readonly #partsBytes: number;

  constructor({ bytes, frameBytes }: BodyShape) {
    const partBytes =
      frameBytes === 0 ? periodBytes : frameBytes * Math.max(1, Math.floor(periodBytes / frameBytes));
    const data = pattern(partBytes);
    this.#part = framed(data, frameBytes);
    this.#partsBytes = Math.floor(bytes / partBytes) * this.#part.length;
    const rest = framed(data.subarray(0, bytes % partBytes), frameBytes);
    this.#rest = frameBytes === 0 ? rest : Buffer.concat([rest, Buffer.from('0\r\n\r\n')]);
    this.wireBytes = this.#partsBytes + this.#rest.length;
  }

  /** Sends on from a byte of the wire. @returns bytes, 0 where the socket takes no more. @throws SystemCallError */
  send(to: number, atByte: number, mostBytes = Number.POSITIVE_INFINITY): number {
    const inParts = atByte < this.#partsBytes;
    const from = inParts
      ? this.#part.subarray(atByte % this.#part.length)
      : this.#rest.subarray(atByte - this.#partsBytes);
    const sent = libc.send(to, mostBytes < from.length ? from.subarray(0, mostBytes) : from);
    return sent === wouldWait ? 0 : sent;
  }
}
