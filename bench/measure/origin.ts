import { z } from 'zod';
import { LineProcess } from './line-process.ts';

const countsSchema = z.object({
  uploads: z.number(),
  uploadBytes: z.number(),
  downloads: z.number(),
  others: z.number(),
  broken: z.number(),
});

/** What an origin has seen since it was started; bytes are those of bodies without their framing. */
export type OriginCounts = z.infer<typeof countsSchema>;

/**
 * The API behind every contender, so cheap that it bounds none of them: `PUT` is stored (204), `GET …/file` a download,
 * everything else an image's record. A process of its own, so that its CPU can be told apart.
 */
export class Origin {
  readonly port: number;
  readonly #process: LineProcess;

  /** @param downloadBytes of the answer to each download. */
  static async start({ downloadBytes }: { readonly downloadBytes: number }): Promise<Origin> {
    const child = new LineProcess('origin-program.ts', [`${downloadBytes}`]);
    return new Origin(child, Number(await child.line()));
  }

  private constructor(process: LineProcess, port: number) {
    this.#process = process;
    this.port = port;
  }

  get pid(): number {
    return this.#process.pid;
  }

  async counts(): Promise<OriginCounts> {
    this.#process.tell('counts');
    return countsSchema.parse(JSON.parse(await this.#process.line()));
  }

  async stop(): Promise<void> {
    await this.#process.stop();
  }
}
