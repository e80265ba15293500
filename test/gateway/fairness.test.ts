import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { EndlessClient } from '../support/endless-client.ts';
import { eventually } from '../support/eventually.ts';
import type { RawClient } from '../support/raw-client.ts';
import { ScriptedUpstream, type UpstreamConnection } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';
import { testedLane } from '../support/tested-lane.ts';

const slowOnes = 200;
const rounds = 5;
/** What a slow one sends at a time. */
const piece = 'few';
/** More than can pass while the test runs. */
const endlessBytes = 2 ** 50;

/** How a slow client says what it sends, and what of each piece arrives at the API. */
const framings = [
  {
    field: `Content-Length: ${rounds * piece.length}`,
    send: (client: RawClient) => client.write(piece),
    arrives: piece,
  },
  {
    field: 'Transfer-Encoding: chunked',
    send: (client: RawClient) => client.chunk(piece),
    arrives: `${piece.length}\r\n${piece}\r\n`,
  },
] as const;

describe('a fast upload that never pauses', () => {
  let upstream: ScriptedUpstream;
  let sluice: TestGateway;
  let fast: EndlessClient | null = null;

  beforeEach(async () => {
    upstream = await ScriptedUpstream.start(async (connection) => {
      if (connection.header('content-length') === String(endlessBytes)) return connection.keepNothing();
      await connection.bodyComplete();
      connection.answer('204 No Content');
    });
    sluice = await TestGateway.start(upstream.port, {
      quota: { mode: 'off', usage: { source: 'none' } },
      upload: { watch_interval: 0, flush_after: '1ms' },
    });
  });
  afterEach(async () => {
    await fast?.stop();
    await sluice.stop();
    await upstream.stop();
  });

  it(`leaves ${slowOnes} slow ones their turn, and is left its own`, async () => {
    fast = new EndlessClient(sluice.port, uploadHead(randomUUID(), `Content-Length: ${endlessBytes}`));
    await eventually(() => assert.equal(upstream.connections.length, 1));
    const [endless] = upstream.connections;
    if (endless === undefined) throw new Error('it did not arrive');
    const slow: { readonly client: RawClient; readonly framing: (typeof framings)[number] }[] = [];
    for (let each = 0; each < slowOnes; each += 1) {
      const framing = framings[each % 2 === 0 ? 0 : 1];
      const client = await sluice.client();
      await client.request(...uploadHead(randomUUID(), framing.field));
      slow.push({ client, framing });
    }
    const others = (): UpstreamConnection[] => upstream.connections.filter((each) => each !== endless);
    let fastBytes = 0;
    for (let round = 1; round <= rounds; round += 1) {
      for (const { client, framing } of slow) void framing.send(client);
      await eventually(() => {
        const here = others().filter(({ body }) =>
          framings.some(({ arrives }) => body.toString() === arrives.repeat(round)),
        );
        assert.equal(here.length, slowOnes, `in round ${round}`);
        assert.ok(endless.bodyBytes > fastBytes, 'the fast one moves');
      });
      fastBytes = endless.bodyBytes;
    }
    const rows = await sluice.uploads();
    const lanes = new Set(rows.map((row) => row.lane));
    assert.deepEqual([...lanes], [process.platform === 'linux' ? testedLane : 'stream']);
    for (const { client, framing } of slow) {
      if (framing.field.startsWith('Transfer')) await client.chunk('');
      assert.equal((await client.response()).status, 204);
    }
  });
});
