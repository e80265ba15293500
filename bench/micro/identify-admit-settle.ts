// What an upload costs before its first and after its last byte, in time and in garbage: identify (token in the cache),
// admit (four limits on two accounts, the reading fresh), settle. No socket is involved. Run: npm run bench:micro
import { createHash, randomUUID } from 'node:crypto';
import { PerformanceObserver } from 'node:perf_hooks';
import { Admission } from '../../src/admission.ts';
import { defaultConfig } from '../../src/config/load.ts';
import { Networks } from '../../src/http/networks.ts';
import { KeystoneIdentity } from '../../src/identity/keystone.ts';
import { KeystoneApi } from '../../src/identity/keystone-api.ts';
import { MemoryLedger } from '../../src/ledger/memory.ts';
import { fileOnly } from '../../src/limits/limits.ts';
import { Readings } from '../../src/usage/readings.ts';
import { alternate, row } from '../rounds.ts';

const operations = 20_000;
const rounds = 7;
const secret = `gAAAAA${'x'.repeat(180)}`;
const headers = [
  ...['Host', 'images.example', 'User-Agent', 'openstacksdk', 'Accept', '*/*', 'X-Auth-Token', secret],
  ...['Content-Type', 'application/octet-stream', 'Content-Length', '0'],
];

const document = {
  token: {
    user: { id: 'd0c6d52bbd1a4f7ea3a0f1c3bd3ca0a3' },
    project: { id: '3c0ffee0d1e54f0e9c1b2a3948576655' },
    roles: [{ name: 'member' }, { name: 'reader' }],
    expires_at: new Date(Date.now() + 3_600_000).toISOString(),
  },
};
const keystone = new KeystoneApi({
  ask: async () => ({ status: 200, headers: [], body: Buffer.from(JSON.stringify(document)) }),
});
const identity = new KeystoneIdentity(
  keystone,
  null,
  {
    cacheTtlMs: 3_600_000,
    cacheSize: 10_000,
    authenticateUri: 'http://keystone/v3',
    serviceType: 'image',
    serviceRoles: ['service'],
    serviceTokensFrom: new Networks([]),
  },
  () => {},
);
const ledger = new MemoryLedger(() => performance.now());
const readings = new Readings({ storedBytes: async () => 0 }, ledger, () => {});
const admission = new Admission(ledger, readings, fileOnly, { refused: () => {}, operation: () => {} });
const config = defaultConfig({
  quota: {
    limits: [
      { per: 'project', total: '1TiB', saving: '1TiB' },
      { per: 'user', saving: '1TiB', uploads: 100 },
    ],
    usage: { source: 'glance', ttl: '1h' },
  },
});

const identify = () =>
  identity.identify({ headers, peerAddress: '127.0.0.1', method: 'PUT', path: '/v2/images/i/file' });

const contenders: Readonly<Record<string, () => Promise<void>>> = {
  'one SHA-256 of the token (peer)': async () => {
    createHash('sha256').update(secret).digest('base64');
  },
  identify: async () => {
    await identify();
  },
  'identify + admit + settle': async () => {
    const { user, project } = await identify();
    if (project === null) throw new Error('the token is of no project');
    const caller = { headers, project };
    const { reservation } = await admission.admit(config, {
      id: randomUUID(),
      owner: { user, project },
      declaredBytes: 0,
      caller,
    });
    await reservation.settle('stored', 0);
  },
};

/** Microseconds of one operation. */
async function timed(operation: () => Promise<void>): Promise<number> {
  const beganMs = performance.now();
  for (let i = 0; i < operations; i += 1) await operation();
  return ((performance.now() - beganMs) * 1000) / operations;
}

/** Bytes of garbage that one operation makes: counted where no collection came between. */
async function garbage(operation: () => Promise<void>): Promise<number | null> {
  const collect = globalThis.gc;
  if (collect === undefined) return null;
  const few = 1_000;
  let collections = 0;
  const observer = new PerformanceObserver((list) => {
    collections += list.getEntries().length;
  });
  collect();
  observer.observe({ entryTypes: ['gc'] });
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < few; i += 1) await operation();
  const bytes = (process.memoryUsage().heapUsed - before) / few;
  await new Promise((resolve) => setImmediate(resolve));
  observer.disconnect();
  return collections === 0 ? bytes : null;
}

const figures = await alternate(
  Object.fromEntries(Object.entries(contenders).map(([name, run]) => [name, () => timed(run)])),
  rounds,
);
const [peer = []] = figures.values();
console.log(`Node ${process.version}, ${rounds} rounds of ${operations} operations each\n`);
console.log('| operation | median | spread | ratio | garbage |\n| --- | --- | --- | --- | --- |');
for (const [name, each] of figures) {
  const bytes = await garbage(contenders[name] ?? (async () => {}));
  const text = bytes === null ? 'not measured' : `${Math.round(bytes)} B`;
  console.log(`${row(name, each, peer, 'µs')} ${text} |`);
}
if (ledger.savingBytes() !== 0 || ledger.uploads() !== 0) throw new Error('something was not given back');
