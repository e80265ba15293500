import type { Config } from '../config/config.ts';
import type { Moved } from '../http/passthrough.ts';
import { type DownloadOptions, spliceDownload } from './download.ts';
import { type StartEngine, sharedEngine } from './kernel/shared-engine.ts';
import type { SpliceEngine } from './kernel/splice-engine.ts';
import type { Lane } from './lane.ts';
import { SpliceLane } from './splice.ts';
import { StreamLane } from './stream.ts';

type LaneOption = Config['upload']['lane'];

export interface LaneEvents {
  /** There is no lane through the kernel here, for a reason that operators understand; everything is streamed. */
  unavailable(reason: string): void;
  /** The thread of the lane has died with what was under way in it; everything is streamed from now on. */
  died(reason: string): void;
}

/** The lanes of a process, and which of them a configuration means. */
export class LaneChoice {
  readonly #stream = new StreamLane();
  readonly #events: LaneEvents;
  readonly #splice = new SpliceLane(() => this.#engine, this.#stream);
  #engine: SpliceEngine | null = null;
  #asked = false;
  #mostHeldBytes = 0;
  readonly #startEngine: StartEngine;
  #letGo = (): void => {};

  /** @param startEngine called once at most, when a configuration needs it. */
  constructor(events: LaneEvents, startEngine: StartEngine = sharedEngine) {
    this.#events = events;
    this.#startEngine = startEngine;
  }

  /** Makes ready what `option` needs. With `splice` it rejects where that cannot be had. Asked again: nothing happens. */
  async start(option: LaneOption): Promise<void> {
    if (option === 'stream' || this.#asked) return;
    this.#asked = true;
    try {
      this.#engine = await this.#startEngine();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (option === 'splice')
        throw new Error(`upload.lane: splice cannot be had: ${reason}`, { cause: error });
      return this.#events.unavailable(reason);
    }
    this.#engine.mostHeldBytes = this.#mostHeldBytes;
    this.#letGo = this.#engine.onDeath((reason) => this.#events.died(reason));
  }

  /** The engine outlives who used it: it hears no more of them. */
  stop(): void {
    this.#letGo();
  }

  /** Streams until `start` is done. */
  of(option: LaneOption): Lane {
    return option === 'stream' ? this.#stream : this.#splice;
  }

  /** Moves the body of an answer through the kernel; null where that cannot be, or is not wanted. */
  async download(config: Config, options: Omit<DownloadOptions, 'responseTimeoutMs'>): Promise<Moved | null> {
    const { lane, spliceFromBytes } = config.upload;
    if (lane === 'stream' || this.#engine === null || options.bytes < Math.max(1, spliceFromBytes))
      return null;
    const { responseTimeoutMs } = config.upstream;
    return await spliceDownload(this.#engine, { ...options, responseTimeoutMs });
  }

  /** Bodies move through the kernel where they can. */
  get splices(): boolean {
    return this.#engine?.alive === true;
  }

  /** Bytes that the kernel holds of bodies on their way. */
  get heldBytes(): number {
    return this.#engine?.heldBytes ?? 0;
  }

  /** From this many held bytes on no frame is filled; 0 = no limit. */
  set mostHeldBytes(bytes: number) {
    this.#mostHeldBytes = bytes;
    if (this.#engine !== null) this.#engine.mostHeldBytes = bytes;
  }
}
