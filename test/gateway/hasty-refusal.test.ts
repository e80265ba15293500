import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { KiB, MiB } from '../../src/core/units.ts';
import { type Haste, HastyUpstream } from '../support/hasty-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const bodyBytes = 4 * MiB;
const pieceBytes = 64 * KiB;
const uploads = 40;
const together = 4;

const hastes: Readonly<Record<string, Pick<Haste, 'readsBytes' | 'departure'>>> = {
  'after the head, and closes': { readsBytes: 0, departure: 'closes' },
  'after the head, and resets': { readsBytes: 0, departure: 'resets' },
  'inside the body, and closes': { readsBytes: 256 * KiB, departure: 'closes' },
  'inside the body, and resets': { readsBytes: 256 * KiB, departure: 'resets' },
};

describe('an upstream in a process of its own that refuses at once', () => {
  for (const [when, haste] of Object.entries(hastes)) {
    for (const framing of ['Content-Length', 'chunked'] as const) {
      for (const expect of [false, true]) {
        const how = `${framing}${expect ? ', Expect: 100-continue' : ''}`;
        it(`${when}, is heard by ${uploads} of ${uploads} clients (${how})`, async () => {
          const said = 'the upstream says 413';
          const upstream = await HastyUpstream.start({ status: 413, says: said, ...haste });
          const sluice = await TestGateway.start(upstream.port, { quota: { usage: { source: 'none' } } });
          try {
            const piece = Buffer.alloc(pieceBytes, 'x');
            const fields = [
              framing === 'chunked' ? 'Transfer-Encoding: chunked' : `Content-Length: ${bodyBytes}`,
              ...(expect ? ['Expect: 100-continue'] : []),
            ];
            const heard: string[] = [];
            const uploader = async (): Promise<void> => {
              while (heard.length < uploads) {
                const place = heard.push('nothing') - 1;
                const client = await sluice.client();
                await client.request(...uploadHead(randomUUID(), ...fields));
                if (expect) await client.receive(1);
                const answer = client.response().then(
                  ({ status, body }) => `${status} ${body.toString()}`,
                  (error: unknown) => String(error),
                );
                // as a simple client does: all of the body first, whatever comes
                for (let sent = 0; sent < bodyBytes; sent += pieceBytes) {
                  if (framing === 'chunked') await client.chunk(piece);
                  else await client.write(piece);
                }
                heard[place] = await answer;
                client.destroy();
              }
            };
            await Promise.all(Array.from({ length: together }, uploader));
            assert.deepEqual(heard, Array(uploads).fill(`413 ${said}`));
            assert.equal(sluice.gateway.savingBytes, 0);
            assert.equal(sluice.gateway.uploadsUnderWay, 0);
          } finally {
            await sluice.stop();
            await upstream.stop();
          }
        });
      }
    }
  }
});
