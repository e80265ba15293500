import { z } from 'zod';
import { createLog, type Log } from '../../src/log.ts';

const line = z.record(z.string(), z.unknown());

/** A log that keeps its lines, for tests of what is in them. */
export class LogLines {
  readonly log: Log;
  readonly #lines: z.infer<typeof line>[] = [];

  constructor() {
    this.log = createLog('info', { write: (text) => void this.#lines.push(line.parse(JSON.parse(text))) });
  }

  /** The lines with this message, oldest first. */
  said(message: string): readonly z.infer<typeof line>[] {
    return this.#lines.filter(({ msg }) => msg === message);
  }

  /** The lines of requests, oldest first. */
  requests(): readonly z.infer<typeof line>[] {
    return this.#lines.filter(({ msg }) => msg === 'request');
  }

  /** All others, oldest first. */
  others(): readonly z.infer<typeof line>[] {
    return this.#lines.filter(({ msg }) => msg !== 'request');
  }
}
