import type { DestinationStream } from 'pino';

/** How long a line waits for others at most. */
const longestWaitMs = 10;

/** Characters that are written at once, however little time has passed. */
const mostWaiting = 64 * 1024;

/**
 * Lines of the log on their way to where they are written, a few at a time: each write is handed to another thread, and under
 * load that cost a request more than the making of its line.
 */
export class LineBatch implements DestinationStream {
  readonly #write: (lines: string) => void;
  #lines = '';
  #timer: NodeJS.Timeout | undefined;

  /** @param write takes one or more whole lines. */
  constructor(write: (lines: string) => void) {
    this.#write = write;
  }

  write(line: string): void {
    this.#lines += line;
    if (this.#lines.length >= mostWaiting) this.flush();
    else this.#timer ??= setTimeout(this.flush, longestWaitMs);
  }

  /** Writes now what waits. */
  readonly flush = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const lines = this.#lines;
    this.#lines = '';
    if (lines !== '') this.#write(lines);
  };
}
