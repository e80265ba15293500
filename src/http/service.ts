import { Pool } from 'undici';
import { ask, type Fetched, type Question } from './ask.ts';

/** Connections to a service of the cloud at once; questions beyond them wait for one to come free. */
const mostConnections = 32;

/** A service of the cloud beside the API, such as the identity service, asked over kept-alive connections. */
export class Service {
  readonly #pool: Pool;
  readonly #basePath: string;
  readonly #timeoutMs: number;

  /**
   * @param url origin and the path that all targets are below, e.g. `http://127.0.0.1:5000/v3`.
   * @param timeoutMs for the whole answer, waiting for a connection included; above 0.
   */
  constructor(url: URL, timeoutMs: number) {
    this.#basePath = url.pathname.replace(/\/+$/, '');
    this.#timeoutMs = timeoutMs;
    this.#pool = new Pool(url.origin, {
      connections: mostConnections,
      pipelining: 1,
      connectTimeout: timeoutMs,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      // shorter than any server's: a question is never written into a connection that is being closed (uWSGI: 4 s)
      keepAliveTimeout: 3_000,
      keepAliveMaxTimeout: 3_000,
    });
  }

  /** @throws GatewayError as `ask` does. */
  async ask(question: Omit<Question, 'timeoutMs'>): Promise<Fetched> {
    return await ask(this.#pool, {
      ...question,
      target: `${this.#basePath}${question.target}`,
      timeoutMs: this.#timeoutMs,
    });
  }

  /** Lets questions under way come to their end. */
  async close(): Promise<void> {
    await this.#pool.close();
  }

  async destroy(): Promise<void> {
    await this.#pool.destroy();
  }
}
