import type { ChunkPosition } from './chunk-reader.ts';

/** Something to parse: text, or so many bytes of data of whatever value. */
export type BridgePiece = string | number;

/** Where a parser can be whose chunk under way can be brought to its end. */
export function canLeave({ phase }: ChunkPosition): boolean {
  return phase === 'size' || phase === 'data' || phase === 'data-cr';
}

/**
 * What brings a parser of a chunked body from one place in it to another without the bytes between, which somebody else has
 * read: the chunk under way ends, and one begins that has as much left as the one over there. Never more bytes of data than lie
 * between: a chunk may say that it has 2^53 - 1, of which hardly any came.
 * @param from where `canLeave` says so.
 * @param dataBytes of data between the two.
 */
export function bridgeBetween(from: ChunkPosition, to: ChunkPosition, dataBytes: number): BridgePiece[] {
  if (from.phase === 'data' && dataBytes < from.leftBytes) return dataBytes > 0 ? [dataBytes] : [];
  const pieces: BridgePiece[] = [];
  if (from.phase === 'data') pieces.push(from.leftBytes);
  if (from.phase !== 'size') pieces.push('\r\n');
  const size = to.leftBytes.toString(16);
  const arrival = {
    size: [],
    digits: [size],
    extension: [`${size};`],
    'extension-name': [`${size};x`],
    'extension-value': [`${size};x=`],
    'extension-quoted': [`${size};x="`],
    'extension-escaped': [`${size};x="\\`],
    'extension-unquoted': [`${size};x=""`],
    'size-lf': [`${size}\r`],
    data: [`${size}\r\n`],
    'data-cr': ['1\r\n', 1],
    'data-lf': ['1\r\n', 1, '\r'],
    trailer: ['0\r\n'],
    'trailer-name': ['0\r\nx'],
    'trailer-value': ['0\r\nx:'],
    'trailer-lf': ['0\r\nx:\r'],
    'end-lf': ['0\r\n\r'],
    done: ['0\r\n\r\n'],
  } as const satisfies Record<ChunkPosition['phase'], readonly BridgePiece[]>;
  return [...pieces, ...arrival[to.phase]];
}
