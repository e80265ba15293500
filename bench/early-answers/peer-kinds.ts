import { join } from 'node:path';
import { nodeProxy } from '../contenders/node-proxy.ts';
import type { PeerKind } from '../contenders/peer.ts';

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
  'http-proxy': nodeProxy('http-proxy'),
};
