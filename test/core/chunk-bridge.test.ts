import assert from 'node:assert/strict';
import { type BridgePiece, bridgeBetween, canLeave } from '../../src/core/chunk-bridge.ts';
import { type ChunkPosition, ChunkReader, readChunks } from '../../src/core/chunk-reader.ts';
import { NodeParser } from '../support/node-parser.ts';

/** Comes through every place that a parser can be in. */
const body = Buffer.from(
  '5\r\nfirst\r\n12;n=v;q="\\"x";r\r\neighteen-bytes-now\r\n001\r\n!\r\n0;e\r\nDigest: x\r\nb:\r\n\r\n',
);
const next = Buffer.from('GET /next HTTP/1.1\r\nHost: images\r\n\r\n');

function positionAt(bytes: number): ChunkPosition {
  const reader = new ChunkReader();
  readChunks(reader, body.subarray(0, bytes), () => {});
  return reader.position;
}

function dataIn(from: number, to: number): string {
  const reader = new ChunkReader(positionAt(from));
  let data = '';
  readChunks(reader, body.subarray(from, to), (piece) => {
    data += Buffer.from(piece).toString('latin1');
  });
  return data;
}

const bytesOf = (piece: BridgePiece): Buffer =>
  typeof piece === 'string' ? Buffer.from(piece, 'latin1') : Buffer.alloc(piece);

const places = Array.from({ length: body.length + 1 }, (_, bytes) => ({
  bytes,
  position: positionAt(bytes),
}));
const leaving = places.filter(({ position }) => canLeave(position));

describe('the bridge over bytes that somebody else has read', () => {
  it('is tried to every place in a body, and from every place that can be left', () => {
    const phases = new Set(places.map(({ position }) => position.phase));
    const { done } = new ChunkReader(places.at(-1)?.position);
    assert.equal(done, true);
    assert.equal(phases.size, 18, [...phases].join());
    assert.deepEqual([...new Set(leaving.map(({ position }) => position.phase))].sort(), [
      'data',
      'data-cr',
      'size',
    ]);
  });

  it("brings Node's parser to where it had been with them, to read on from there", () => {
    for (const from of leaving) {
      for (const to of places.filter(({ bytes }) => bytes >= from.bytes)) {
        const where = `from ${from.bytes} (${from.position.phase}) to ${to.bytes} (${to.position.phase})`;
        const parser = new NodeParser();
        assert.equal(parser.read(body.subarray(0, from.bytes)), null);
        for (const piece of bridgeBetween(from.position, to.position, dataIn(from.bytes, to.bytes).length)) {
          assert.equal(parser.read(bytesOf(piece)), null, where);
        }
        assert.equal(parser.complete, to.position.phase === 'done' ? 1 : 0, where);
        const onBridge = parser.body.length;
        assert.equal(parser.read(body.subarray(to.bytes)), null, where);
        assert.equal(parser.body.toString('latin1', onBridge), dataIn(to.bytes, body.length), where);
        assert.equal(parser.complete, 1, where);
        assert.equal(parser.read(next), null, where);
        assert.equal(parser.heads, 2, where);
      }
    }
  });

  it('brings our own reader there as well', () => {
    for (const from of leaving) {
      for (const to of places.filter(({ bytes }) => bytes >= from.bytes)) {
        const reader = new ChunkReader(from.position);
        for (const piece of bridgeBetween(from.position, to.position, dataIn(from.bytes, to.bytes).length)) {
          readChunks(reader, bytesOf(piece), () => {});
        }
        const { phase, leftBytes } = reader.position;
        const where = `from ${from.bytes} to ${to.bytes}`;
        assert.equal(phase, to.position.phase, where);
        if (phase === 'data' || phase === 'digits') assert.equal(leftBytes, to.position.leftBytes, where);
      }
    }
  });

  it('names the largest size as it is', () => {
    const leftBytes = 2 ** 53 - 1;
    const pieces = bridgeBetween(positionAt(0), { ...positionAt(0), phase: 'data', leftBytes }, 0);
    assert.deepEqual(pieces, ['1fffffffffffff\r\n']);
  });

  it('is no longer than what came of a chunk, whatever the chunk says that it has', () => {
    const leftBytes = 2 ** 53 - 1;
    const within = (cameBytes: number): ChunkPosition => ({
      ...positionAt(0),
      phase: 'data',
      leftBytes: leftBytes - cameBytes,
    });
    assert.deepEqual(bridgeBetween(within(0), within(0), 0), []);
    assert.deepEqual(bridgeBetween(within(0), within(7), 7), [7]);
  });
});
