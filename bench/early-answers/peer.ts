import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

/** How one proxy is set up, and started in the foreground. */
export interface PeerKind {
  /** @param folder scratch of this proxy alone. */
  configuration(port: number, upstreamPort: number, folder: string): string;
  command(file: string, folder: string): readonly [string, ...string[]];
}

/** Started by root, nginx would let go of root's rights, and with them of its scratch folder. */
const workersUser = process.getuid?.() === 0 ? 'user root;' : '';

const nginx = (location: string): PeerKind => ({
  configuration: (port, upstreamPort, folder) => `
${workersUser} daemon off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log;
events { worker_connections 1024; }
http {
  access_log off; client_max_body_size 0;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi; uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
  server {
    listen 127.0.0.1:${port};
    location / { proxy_pass http://127.0.0.1:${upstreamPort}; proxy_http_version 1.1; ${location} }
  }
}
`,
  command: (file, folder) => ['nginx', '-p', folder, '-e', join(folder, 'error.log'), '-c', file],
});

export const peerKinds: Readonly<Record<string, PeerKind>> = {
  Sluice: {
    configuration: (port, upstreamPort) => `
listen: [{ address: "127.0.0.1:${port}" }]
admin: { address: "127.0.0.1:0" }
upstream: { servers: ["http://127.0.0.1:${upstreamPort}"], health: { interval: 0 } }
identity: { source: none }
quota: { mode: "off", usage: { source: none } }
upload: { watch_interval: 0 }
log: { level: error, access: false }
`,
    command: (file) => [process.execPath, 'dist/main.js', 'run', '-c', file],
  },
  'nginx, streaming': nginx('proxy_request_buffering off;'),
  'nginx, streaming, lingering_close always': nginx('proxy_request_buffering off; lingering_close always;'),
  'nginx, as installed': nginx(''),
  HAProxy: {
    configuration: (port, upstreamPort) => `
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend images
  bind 127.0.0.1:${port}
  default_backend api
backend api
  server one 127.0.0.1:${upstreamPort}
`,
    command: (file) => ['haproxy', '-q', '-db', '-f', file],
  },
  'http-proxy': {
    configuration: (port, upstreamPort) => `
import { createRequire } from 'node:module';
const httpProxy = createRequire('${import.meta.url}')('http-proxy');
const proxy = httpProxy.createProxyServer({ target: 'http://127.0.0.1:${upstreamPort}' });
proxy.on('error', (_error, _request, response) => {
  if (!response.headersSent) response.writeHead?.(502);
  response.end();
});
proxy.listen(${port}, '127.0.0.1');
`,
    command: (file) => [process.execPath, '--input-type=module', '-e', `await import('${file}')`],
  },
};

/** A proxy as a process of its own, before one upstream. */
export class Peer {
  readonly port: number;
  readonly #process: ChildProcess;
  readonly #folder: string;

  static async start(kind: PeerKind, upstreamPort: number): Promise<Peer> {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-peer-'));
    const port = await freePort();
    const file = join(folder, 'configuration.mjs');
    await writeFile(file, kind.configuration(port, upstreamPort, folder));
    const [program, ...args] = kind.command(file, folder);
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    const peer = new Peer(port, child, folder);
    await peer.#accepting();
    return peer;
  }

  private constructor(port: number, process: ChildProcess, folder: string) {
    this.port = port;
    this.#process = process;
    this.#folder = folder;
  }

  async stop(): Promise<void> {
    const exit = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await exit;
    await rm(this.#folder, { recursive: true });
  }

  async #accepting(): Promise<void> {
    for (;;) {
      if (this.#process.exitCode !== null) throw new Error(`${this.#process.spawnargs.join(' ')} has ended`);
      const socket = connect({ host: '127.0.0.1', port: this.port });
      const connected = await once(socket, 'connect').then(
        () => true,
        () => false,
      );
      socket.destroy();
      if (connected) return;
      await pause(20);
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port is free');
  return address.port;
}
