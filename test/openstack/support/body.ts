import { createHash, randomBytes } from 'node:crypto';

const MiB = 1024 * 1024;

/** What the hashes of some bytes are; `md5` and `sha512` in hex, as Glance tells them. */
export interface Digest {
  readonly bytes: number;
  readonly md5: string;
  readonly sha512: string;
}

/** Random bytes of a size: no two blocks of one body are alike, so a lost or swapped block shows. */
export class Body {
  readonly bytes: number;
  readonly #block: Buffer;

  constructor(bytes: number) {
    this.bytes = bytes;
    this.#block = randomBytes(Math.min(MiB, bytes));
  }

  /** The body in blocks of at most 1 MiB. */
  *blocks(): Generator<Buffer> {
    for (let at = 0; at < this.bytes; at += MiB) {
      const block = Buffer.from(this.#block.subarray(0, Math.min(MiB, this.bytes - at)));
      if (block.length >= 8) block.writeBigUInt64BE(BigInt(at));
      yield block;
    }
  }

  async digest(): Promise<Digest> {
    return digest(this.blocks());
  }
}

/** Hashes what a body, a download or a file yields. */
export async function digest(blocks: Iterable<Buffer> | AsyncIterable<Buffer>): Promise<Digest> {
  const md5 = createHash('md5');
  const sha512 = createHash('sha512');
  let bytes = 0;
  for await (const block of blocks) {
    md5.update(block);
    sha512.update(block);
    bytes += block.length;
  }
  return { bytes, md5: md5.digest('hex'), sha512: sha512.digest('hex') };
}
