import { z } from 'zod';
import { LineProcess } from './line-process.ts';

export const loadSchema = z.object({
  port: z.number(),
  kind: z.enum(['upload', 'download']),
  /** At once. */
  connections: z.number(),
  /** In all. */
  exchanges: z.number(),
  /** Of each upload, or expected of each download. */
  bodyBytes: z.number(),
  /** Of an upload of unknown length; 0: its length is told. */
  frameBytes: z.number(),
  /** False: each exchange has a connection of its own. */
  keepAlive: z.boolean(),
  /** Each upload stops after so many bytes on the wire, until it is released; 0: none does. As many as connections. */
  heldBytes: z.number(),
  /** Lines of the head beside those that the kind asks for. */
  fields: z.array(z.string()),
});

/** What a generator is to do. Each exchange is for an image of its own. */
export type Load = z.infer<typeof loadSchema>;

const outcomeSchema = z.object({
  /** Exchanges with 2xx, sent and read whole. */
  answered: z.number(),
  /** Of bodies of those. */
  bodyBytes: z.number(),
  wallMs: z.number(),
  /** What went wrong, and how often. */
  failures: z.record(z.string(), z.number()),
});

export type LoadOutcome = z.infer<typeof outcomeSchema>;

/** Whoever sends uploads and reads downloads: a process of its own, so cheap that it bounds no contender. */
export class LoadGenerator {
  readonly #process = new LineProcess('load-program.ts');

  get pid(): number {
    return this.#process.pid;
  }

  async run(load: Load): Promise<LoadOutcome> {
    this.#process.tell(JSON.stringify(load));
    return outcomeSchema.parse(JSON.parse(await this.#process.line()));
  }

  /** Begins uploads that are held: resolves when each has sent what it may. @returns lets them go on to the end. */
  async hold(load: Load): Promise<() => Promise<LoadOutcome>> {
    this.#process.tell(JSON.stringify(load));
    await this.#process.line();
    return async () => {
      this.#process.tell('release');
      return outcomeSchema.parse(JSON.parse(await this.#process.line()));
    };
  }

  async stop(): Promise<void> {
    await this.#process.stop();
  }
}
