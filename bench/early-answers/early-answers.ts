// An upstream in a process of its own refuses each upload at once and is gone: it closes with the body unread, which the
// kernel makes a reset, or it resets. Counted is who of curl's uploads through each proxy reads its answer, whole.
import { MiB } from '../../src/core/units.ts';
import { type Haste, HastyUpstream } from '../../test/support/hasty-upstream.ts';
import { Peer } from '../contenders/peer.ts';
import { hearsAnswer, withBodyFile } from './hears-answer.ts';
import { peerKinds } from './peer-kinds.ts';

const uploads = Number(process.argv[2] ?? 100);
const bodyBytes = 20 * MiB;
const said = 'refused by the upstream';

const departures: readonly Haste['departure'][] = ['closes', 'resets'];

const names = Object.keys(peerKinds);
const sums = new Map(names.map((name) => [name, 0]));
let cases = 0;
console.log(
  `\n| upstream | framing | ${names.join(' | ')} |\n| --- | --- |${names.map(() => ' --- |').join('')}`,
);
await withBodyFile(bodyBytes, async (file) => {
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
              if (await hearsAnswer(port, file, framing, { status, says: said }))
                heardBy.set(name, (heardBy.get(name) ?? 0) + 1);
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
});
