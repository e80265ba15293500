import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const serving = z.object({ listen: z.tuple([z.string()]), admin: z.string() });
const logLine = z.looseObject({ msg: z.string() });
const uploadsAnswer = z.object({ uploads: z.array(z.unknown()), saving_bytes: z.number() });

/** How long an operator waits for an answer: less is no hang on a busy machine. */
const answerMs = 10_000;

/** `sluice run` in a process of its own, on free ports. */
export class GatewayProcess {
  readonly port: number;
  readonly adminPort: number;
  /** Lines of the log that tell of a defect, and what is no line of a log. */
  readonly defects: string[] = [];
  /** Null while it runs, else the status or the signal it ended with. */
  ended: number | string | null = null;
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #folder: string;

  /** @param yaml its configuration, without listeners. */
  static async start(yaml: string, nodeArguments: readonly string[] = []): Promise<GatewayProcess> {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-process-'));
    const file = join(folder, 'sluice.yaml');
    writeFileSync(file, `listen: [{ address: "127.0.0.1:0" }]\nadmin: { address: "127.0.0.1:0" }\n${yaml}`);
    const child = spawn(process.execPath, [...nodeArguments, '--import', 'tsx', main, 'run', '-c', file], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const errors: string[] = [];
    createInterface(child.stderr).on('line', (line) => errors.push(line));
    const lines = createInterface(child.stdout);
    const first = await Promise.race([
      once(lines, 'line').then(([line]) => String(line)),
      once(child, 'exit').then(() => null),
    ]);
    if (first === null) throw new Error(`the gateway did not start: ${errors.join('\n')}`);
    return new GatewayProcess(child, folder, first, lines, errors);
  }

  private constructor(
    child: ChildProcessByStdio<null, Readable, Readable>,
    folder: string,
    first: string,
    lines: ReturnType<typeof createInterface>,
    errors: string[],
  ) {
    this.#child = child;
    this.#folder = folder;
    this.defects = errors;
    const { listen, admin } = serving.parse(JSON.parse(first));
    this.port = Number(listen[0].split(':').at(-1));
    this.adminPort = Number(admin.split(':').at(-1));
    lines.on('line', (line) => {
      const { msg, error } = logLine.parse(JSON.parse(line));
      if (msg === 'defect' || error === 'internal') this.defects.push(line);
    });
    child.once('exit', (status, signal) => {
      this.ended = status ?? signal;
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** How many it has open; 0 where the system does not tell. */
  descriptors(): number {
    const folder = `/proc/${this.pid}/fd`;
    return existsSync(folder) ? readdirSync(folder).length : 0;
  }

  /** Rejects when there is no answer in time. */
  async health(): Promise<number> {
    return (await this.#ask('/healthz')).status;
  }

  async uploads(): Promise<{ count: number; savingBytes: number }> {
    const { uploads, saving_bytes } = uploadsAnswer.parse(await (await this.#ask('/uploads')).json());
    return { count: uploads.length, savingBytes: saving_bytes };
  }

  /** The value of one series; 0 where there is none. */
  async metric(series: string): Promise<number> {
    const text = await (await this.#ask('/metrics')).text();
    const line = text.split('\n').find((each) => each.startsWith(`${series} `));
    return line === undefined ? 0 : Number(line.slice(series.length + 1));
  }

  async kill(): Promise<void> {
    if (this.ended === null) {
      const exit = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await exit;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #ask(path: string): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.adminPort}${path}`, { signal: AbortSignal.timeout(answerMs) });
  }
}
