import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Contender, RunningContender } from '../bench/measure/contender.ts';
import { freePort } from '../bench/measure/free-port.ts';
import { PeerProcess } from './peer-process.ts';
import { Template } from './template.ts';

/** What a contender is made of, for one start. */
export interface Setup {
  /** Values for the template beside PORT and ORIGIN. */
  readonly values: Readonly<Record<string, string | number>>;
  /** Processes that stand beside it and count with it. */
  readonly beside?: readonly PeerProcess[];
}

/** What a command line may need. */
export interface Place {
  /** Scratch of this start alone. */
  readonly folder: string;
  /** The filled template; '' without one. */
  readonly file: string;
  readonly port: number;
  readonly originPort: number;
}

export interface ScratchKind {
  readonly name: string;
  /** A file of configuration/; null where the command line says it all. */
  readonly template: string | null;
  version(): Promise<string>;
  command(place: Place): readonly [string, ...string[]];
  /** Called at each start. */
  setup?(folder: string): Promise<Setup>;
  /** Called while it still runs, before it is stopped. */
  beforeStop?(folder: string): Promise<void>;
}

/** A contender that runs in a scratch folder, on a free port: no service of the system is touched. */
export class ScratchContender implements Contender {
  readonly name: string;
  readonly #kind: ScratchKind;

  constructor(kind: ScratchKind) {
    this.name = kind.name;
    this.#kind = kind;
  }

  version(): Promise<string> {
    return this.#kind.version();
  }

  /** Bound: whoever compares calls it without its contender. */
  readonly start = async ({ originPort }: { readonly originPort: number }): Promise<RunningContender> => {
    const kind = this.#kind;
    const folder = await mkdtemp(join(tmpdir(), 'sluice-compare-'));
    const processes: PeerProcess[] = [];
    const stop = async (): Promise<void> => {
      for (const process of processes.splice(0).reverse()) await process.stop();
      await rm(folder, { recursive: true, force: true });
    };
    try {
      const { values, beside = [] } = (await kind.setup?.(folder)) ?? { values: {} };
      processes.push(...beside);
      const port = await freePort();
      let file = '';
      if (kind.template !== null) {
        file = join(folder, kind.template);
        const filled = await new Template(kind.template).filled({
          PORT: port,
          ORIGIN: originPort,
          ...values,
        });
        await writeFile(file, filled);
      }
      const command = kind.command({ folder, file, port, originPort });
      processes.push(await PeerProcess.start({ command, port, file: join(folder, 'printed.log') }));
      return {
        port,
        pids: processes.map(({ pid }) => pid),
        stop: async () => {
          await kind.beforeStop?.(folder);
          await stop();
        },
      };
    } catch (error) {
      await stop();
      throw error;
    }
  };
}
