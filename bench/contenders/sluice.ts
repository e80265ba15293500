import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import type { WrittenOptions } from '../../src/config/options.ts';
import type { PeerKind } from './peer.ts';

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const petabyte = 1e15;

/**
 * Sluice at its whole job: who asks by headers, limits of the project and of the user in the ledger, stored bytes asked of
 * the API, deleted images watched for, the API's health looked at. Only the access log is off, as the others have none.
 */
export const sluice = (lane: 'stream' | 'splice'): PeerKind => ({
  configuration: (port, upstreamPort) => {
    const written: WrittenOptions = {
      listen: [{ address: `127.0.0.1:${port}` }],
      admin: { address: '127.0.0.1:0' },
      upstream: { servers: [`http://127.0.0.1:${upstreamPort}`] },
      identity: { source: 'headers' },
      quota: {
        mode: 'enforce',
        limits: [
          { per: 'project', total: petabyte },
          { per: 'user', saving: petabyte, uploads: 100_000 },
        ],
        usage: { source: 'glance' },
      },
      ledger: { type: 'memory' },
      log: { level: 'error', access: false },
    };
    // a lane that the checkout at hand does not know is refused when it starts, and shown so
    return stringify({ ...written, upload: { lane } });
  },
  command: (file) => [process.execPath, main, 'run', '-c', file],
});
