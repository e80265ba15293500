// An upstream in a process of its own refuses each upload at once and is gone: it closes with the body unread, which the
// kernel makes a reset, or it resets. Counted is who of curl's uploads through each proxy reads its answer, whole.
import { execFile } from 'node:child_process';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { MiB } from '../../src/core/units.ts';
import { type Haste, HastyUpstream } from '../../test/support/hasty-upstream.ts';
import { Peer, peerKinds } from './peer.ts';

const uploads = Number(process.argv[2] ?? 100);
const bodyBytes = 20 * MiB;
const said = 'refused by the upstream';
const image = '6f1ed002-ab5d-4b4b-8f6e-2f3a1c1d0e5f';

const framings = { length: [], chunked: ['-H', 'Transfer-Encoding: chunked'] } as const;
const departures: readonly Haste['departure'][] = ['closes', 'resets'];
const run = promisify(execFile);

/** True if curl read status and body of the upstream's answer. What curl calls an error beside that does not matter. */
async function heard(
  port: number,
  file: string,
  framing: keyof typeof framings,
  status: number,
): Promise<boolean> {
  const url = `http://127.0.0.1:${port}/v2/images/${image}/file`;
  const args = [
    '-s',
    '-m',
    '60',
    '-w',
    '\n%{http_code}',
    '-H',
    'Expect:',
    ...framings[framing],
    '-T',
    file,
    url,
  ];
  const { stdout } = await run('curl', args).catch((error: { stdout?: unknown }) => ({
    stdout: String(error.stdout),
  }));
  return stdout === `${said}\n${status}`;
}

const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-early-'));
const file = join(folder, 'body');
await writeFile(file, '');
await truncate(file, bodyBytes);
const names = Object.keys(peerKinds);
const sums = new Map(names.map((name) => [name, 0]));
let cases = 0;
console.log(
  `\n| upstream | framing | ${names.join(' | ')} |\n| --- | --- |${names.map(() => ' --- |').join('')}`,
);
try {
  for (const status of [413, 401]) {
    for (const departure of departures) {
      for (const framing of ['length', 'chunked'] as const) {
        const upstream = await HastyUpstream.start({ status, says: said, readsBytes: 0, departure });
        const peers: (readonly [string, Peer])[] = [];
        try {
          for (const [name, kind] of Object.entries(peerKinds)) {
            peers.push([name, await Peer.start(kind, upstream.port)]);
          }
          const heardBy = new Map(names.map((name) => [name, 0]));
          // in turn, so that what else the machine does falls on all of them alike
          for (let i = 0; i < uploads; i += 1) {
            for (const [name, { port }] of peers) {
              if (await heard(port, file, framing, status)) heardBy.set(name, (heardBy.get(name) ?? 0) + 1);
            }
          }
          cases += 1;
          for (const [name, count] of heardBy) sums.set(name, (sums.get(name) ?? 0) + count);
          console.log(`| ${status}, ${departure} | ${framing} | ${[...heardBy.values()].join(' | ')} |`);
        } finally {
          await Promise.all(peers.map(([, peer]) => peer.stop()));
          await upstream.stop();
        }
      }
    }
  }
  console.log(`| sum of ${cases * uploads} | | ${[...sums.values()].join(' | ')} |`);
  console.log(`\nNode ${process.version}; ${uploads} uploads of ${bodyBytes / MiB} MiB by curl in each row.`);
} finally {
  await rm(folder, { recursive: true });
}
