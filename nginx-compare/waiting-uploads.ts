import { LineProcess } from '../bench/measure/line-process.ts';
import { KiB, MiB } from '../src/core/units.ts';

/** Declared of each upload: more than it ever sends. */
export const waitingBytes = 64 * MiB;
/** Sent with its head. */
export const sentAtOnceBytes = 64 * KiB;
/** Half of them send so much so often, the others nothing. */
export const slowBytes = KiB;
export const slowEveryMs = 10_000;

/** Uploads of a process of its own that have begun and do not come on. */
export class WaitingUploads {
  readonly #process: LineProcess;

  /** @param port of a gateway. */
  constructor(port: number) {
    const program = new URL('waiting-uploads-program.ts', import.meta.url);
    this.#process = new LineProcess(program.href, [`${port}`]);
  }

  /** Opens more until there are so many. @throws Error when one that waited has ended. */
  async hold(count: number): Promise<void> {
    this.#process.tell(`${count}`);
    await this.#process.line();
  }

  /** All of them are cut. */
  async stop(): Promise<void> {
    await this.#process.stop();
  }
}
