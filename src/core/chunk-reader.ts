import { GatewayError } from './errors.ts';
import { KiB } from './units.ts';

/**
 * Of extensions and trailers together, in one body: nobody needs them, and they count against no limit. Node takes 16 KiB
 * of extensions (CVE-2024-22019).
 */
const mostBesideBytes = 16 * KiB;

const phases = [
  'size',
  'digits',
  'extension',
  'extension-name',
  'extension-value',
  'extension-quoted',
  'extension-escaped',
  'extension-unquoted',
  'size-lf',
  'data',
  'data-cr',
  'data-lf',
  'trailer',
  'trailer-name',
  'trailer-value',
  'trailer-lf',
  'end-lf',
  'done',
] as const;
type Phase = (typeof phases)[number];

/** Where in a chunked body somebody is: plain data, to go on from elsewhere. */
export interface ChunkPosition {
  readonly phase: Phase;
  /** Bytes of data of the chunk under way that are still to come; in `digits` what its digits say so far. */
  readonly leftBytes: number;
  readonly besideBytes: number;
  /** In `trailer-name` as much of it as was read; of no meaning elsewhere. */
  readonly trailerName: string;
}

export const chunkStart: ChunkPosition = { phase: 'size', leftBytes: 0, besideBytes: 0, trailerName: '' };

const CR = 13;
const LF = 10;
const semicolon = 0x3b;
const quote = 0x22;
const backslash = 0x5c;
/** They would frame the body once more, in another way (RFC 9110 §6.5.1). */
const framingFields = new Set(['content-length', 'transfer-encoding']);
const isControl = (byte: number): boolean => (byte < 32 && byte !== 9) || byte === 127;
/** RFC 9110 §5.6.2. */
const token = new Set(
  Buffer.from("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
);

/**
 * Reads the framing of a chunked body (RFC 9112 §7.1), no more leniently than Node's parser in its strict form: one LF after
 * each CR, hexadecimal digits only, a size up to 2^53 - 1. Data is not read by it, but skipped by whoever moves it.
 */
export class ChunkReader {
  #phase: Phase;
  #leftBytes: number;
  #chunkBytes: number;
  #besideBytes: number;
  #trailerName: string;

  constructor(position: ChunkPosition = chunkStart) {
    this.#phase = position.phase;
    this.#leftBytes = position.leftBytes;
    this.#chunkBytes = position.leftBytes;
    this.#besideBytes = position.besideBytes;
    this.#trailerName = position.trailerName;
  }

  get position(): ChunkPosition {
    return {
      phase: this.#phase,
      leftBytes: this.#leftBytes,
      besideBytes: this.#besideBytes,
      trailerName: this.#trailerName,
    };
  }

  /** Bytes of data that come next; 0 where framing comes next, or nothing. */
  get dataBytes(): number {
    return this.#phase === 'data' ? this.#leftBytes : 0;
  }

  /** Of the chunk under way or, between two, of the one before; what was left of it where reading began in the middle of one. */
  get chunkBytes(): number {
    return this.#chunkBytes;
  }

  /** The last chunk and the trailers are read. */
  get done(): boolean {
    return this.#phase === 'done';
  }

  /** So many bytes of data were taken; at most `dataBytes`. */
  took(bytes: number): void {
    this.#leftBytes -= bytes;
    if (this.#leftBytes === 0) this.#phase = 'data-cr';
  }

  /**
   * Reads framing up to the next data, or the end of the body.
   * @returns how many of the bytes it was.
   * @throws GatewayError `body-invalid`.
   */
  readFraming(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length && this.#phase !== 'data' && this.#phase !== 'done') {
      this.#read(bytes[at] ?? 0);
      at += 1;
    }
    return at;
  }

  #read(byte: number): void {
    switch (this.#phase) {
      case 'size':
        this.#leftBytes = 0;
        this.#digit(byte);
        this.#phase = 'digits';
        return;
      case 'digits':
        if (byte === CR) this.#phase = 'size-lf';
        else if (byte === semicolon) this.#phase = 'extension';
        else this.#digit(byte);
        return;
      case 'extension':
      case 'extension-name':
      case 'extension-value':
      case 'extension-quoted':
      case 'extension-escaped':
      case 'extension-unquoted':
        this.#phase = this.#readExtension(this.#phase, byte);
        return;
      case 'size-lf':
        expectByte(byte, LF);
        this.#chunkBytes = this.#leftBytes;
        this.#phase = this.#leftBytes > 0 ? 'data' : 'trailer';
        return;
      case 'data-cr':
        expectByte(byte, CR);
        this.#phase = 'data-lf';
        return;
      case 'data-lf':
        expectByte(byte, LF);
        this.#phase = 'size';
        return;
      case 'trailer':
        if (byte === CR) {
          this.#phase = 'end-lf';
          return;
        }
        this.#phase = 'trailer-name';
        this.#trailerName = '';
        this.#readName(byte);
        return;
      case 'trailer-name':
        if (byte !== 0x3a) return this.#readName(byte);
        if (framingFields.has(this.#trailerName.toLowerCase()))
          throw broken(`It has ${this.#trailerName} in its trailers.`);
        this.#phase = 'trailer-value';
        return;
      case 'trailer-value':
        this.#beside();
        if (byte === CR) this.#phase = 'trailer-lf';
        else if (isControl(byte)) throw broken('A trailer has a control character.');
        return;
      case 'trailer-lf':
        expectByte(byte, LF);
        this.#phase = 'trailer';
        return;
      case 'end-lf':
        expectByte(byte, LF);
        this.#phase = 'done';
        return;
    }
  }

  #digit(byte: number): void {
    const value = hexValue(byte);
    if (value < 0) throw broken('The size of a chunk is not a hexadecimal number.');
    this.#leftBytes = this.#leftBytes * 16 + value;
    if (!Number.isSafeInteger(this.#leftBytes)) throw broken('A chunk has 2^53 bytes or more.');
  }

  #readName(byte: number): void {
    this.#beside();
    if (!token.has(byte)) throw broken('A trailer is no header field.');
    this.#trailerName += String.fromCharCode(byte);
  }

  /** RFC 9112 §7.1.1, without the space that servers were to read and that nobody sends. */
  #readExtension(phase: Phase, byte: number): Phase {
    this.#beside();
    switch (phase) {
      case 'extension-quoted':
        if (byte === quote) return 'extension-unquoted';
        if (byte === backslash) return 'extension-escaped';
        if (!isControl(byte)) return phase;
        break;
      case 'extension-escaped':
        if (!isControl(byte)) return 'extension-quoted';
        break;
      default:
        if (byte === CR && phase !== 'extension') return 'size-lf';
        if (byte === semicolon && phase !== 'extension') return 'extension';
        if (byte === 0x3d && phase === 'extension-name') return 'extension-value';
        if (byte === quote && phase === 'extension-value') return 'extension-quoted';
        if (token.has(byte) && phase !== 'extension-unquoted')
          return phase === 'extension' ? 'extension-name' : phase;
    }
    throw broken('A chunk has an extension that is none.');
  }

  #beside(): void {
    this.#besideBytes += 1;
    if (this.#besideBytes > mostBesideBytes) {
      throw broken(`Extensions of chunks and trailers are longer than ${mostBesideBytes} bytes.`);
    }
  }
}

/**
 * Takes a chunked body apart.
 * @param take told of each stretch of data, as an own view of the bytes.
 * @returns how many of the bytes belong to the body: all, unless it ends among them.
 * @throws GatewayError `body-invalid`.
 */
export function readChunks(reader: ChunkReader, bytes: Uint8Array, take: (data: Uint8Array) => void): number {
  let at = 0;
  while (at < bytes.length && !reader.done) {
    if (reader.dataBytes > 0) {
      const data = bytes.subarray(at, at + reader.dataBytes);
      reader.took(data.length);
      at += data.length;
      take(data);
    } else at += reader.readFraming(bytes.subarray(at));
  }
  return at;
}

function hexValue(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function expectByte(byte: number, expected: number): void {
  if (byte !== expected) throw broken('A line of the framing of chunks does not end in CR and LF.');
}

function broken(detail: string): GatewayError {
  return new GatewayError('body-invalid', `The body is not framed as HTTP/1.1 demands: ${detail}`, {
    ending: 'client-gone',
  });
}
