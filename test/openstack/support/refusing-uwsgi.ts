import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stackDirectory } from './stack.ts';

const app = fileURLToPath(new URL('refusing_app.py', import.meta.url));

/** A real uWSGI whose application answers with the status that `X-Refuse` names and reads nothing; uWSGI then closes at once. */
export class RefusingUwsgi {
  readonly origin: string;
  readonly #process: ChildProcess;

  static async start(): Promise<RefusingUwsgi> {
    const options = ['--master', '--processes', '1', '--threads', '4', '--die-on-term', '--need-app'];
    const child = spawn(
      'uwsgi_python3',
      ['--http-socket', '127.0.0.1:0', '--wsgi-file', app, '--buffer-size', '65535', ...options],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const said = child.stderr;
    said.pipe(createWriteStream(join(stackDirectory, 'log', 'refusing-uwsgi.log')));
    let text = '';
    const port = await new Promise<string>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', () => reject(new Error(`uWSGI ended by itself: ${text}`)));
      said.on('data', (piece: Buffer) => {
        text += piece.toString();
        const bound = /bound to TCP address 127\.0\.0\.1:(\d+)/.exec(text)?.[1];
        if (bound !== undefined) resolve(bound);
      });
    });
    return new RefusingUwsgi(`http://127.0.0.1:${port}`, child);
  }

  private constructor(origin: string, process: ChildProcess) {
    this.origin = origin;
    this.#process = process;
  }

  async stop(): Promise<void> {
    const exit = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    await exit;
  }
}
