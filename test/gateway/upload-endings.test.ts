import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Ending } from '../../src/core/endings.ts';
import { eventually } from '../support/eventually.ts';
import type { RawClient } from '../support/raw-client.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

const uploads = 1_000;
const together = 40;
const declaredBytes = 100_000;
const firstBytes = 1_000;

/** How an upload is made to end: what the client does after its first bytes have arrived upstream, and what comes of it. */
interface Scenario {
  readonly ending: Ending;
  /** What the upstream does once it has the first bytes, or all of them. */
  readonly upstream: 'waits' | 'resets' | '409' | '413' | '500' | 'stores';
  act(client: RawClient, image: string, sluice: TestGateway): Promise<void>;
}

const nothing = async (): Promise<void> => {};

const scenarios: Readonly<Record<string, Scenario>> = {
  'client reset': { ending: 'client-gone', upstream: 'waits', act: async (client) => client.reset() },
  'client FIN': { ending: 'client-gone', upstream: 'waits', act: async (client) => client.end() },
  stall: { ending: 'client-stalled', upstream: 'waits', act: nothing },
  'upstream reset': { ending: 'upstream-lost', upstream: 'resets', act: nothing },
  '409': { ending: 'refused', upstream: '409', act: nothing },
  '413': { ending: 'refused', upstream: '413', act: nothing },
  '500': { ending: 'refused', upstream: '500', act: nothing },
  delete: {
    ending: 'image-deleted',
    upstream: 'waits',
    act: async (_, image, sluice) => {
      const target = `http://127.0.0.1:${sluice.port}/v2/images/${image}`;
      assert.equal((await fetch(target, { method: 'DELETE' })).status, 204);
    },
  },
  cancel: {
    ending: 'cancelled',
    upstream: 'waits',
    act: async (_, image, sluice) => {
      const upload = (await sluice.uploads()).find((row) => row.image === image);
      assert.equal(await sluice.cancel(upload?.id ?? 'none'), 204);
    },
  },
  stored: {
    ending: 'stored',
    upstream: 'stores',
    act: (client) => client.write(Buffer.alloc(declaredBytes - firstBytes)),
  },
};

describe('a thousand uploads that end in ten ways', () => {
  it('leave not one byte, not one upload and not one connection behind', async function () {
    this.timeout(60_000);
    const upstream = await ScriptedUpstream.start(async (connection) => {
      if (connection.head.startsWith('DELETE')) {
        connection.answer('204 No Content\r\nConnection: close');
        return;
      }
      await connection.received(firstBytes);
      const does = connection.header('x-scenario');
      if (does === 'resets') connection.reset();
      else if (does === 'stores') {
        await connection.bodyComplete();
        connection.answer('204 No Content');
      } else if (does !== 'waits') connection.answer(`${does} Refused`, 'refused');
    });
    const sluice = await TestGateway.start(upstream.port, {
      // as long as a busy machine may take before the others act
      client_socket_timeout: '6s',
      quota: {
        limits: [{ per: 'project', saving: '1GiB', uploads: 2 * together }],
        usage: { source: 'none' },
      },
      upload: { watch_interval: 0 },
    });
    try {
      const names = Object.keys(scenarios);
      let begun = 0;
      const worker = async (): Promise<void> => {
        while (begun < uploads) {
          const name = names[begun % names.length] ?? '';
          begun += 1;
          const scenario = scenarios[name];
          if (scenario === undefined) throw new Error(`no scenario ${name}`);
          const image = randomUUID();
          const client = await sluice.client();
          const gone = client.response().then(
            () => {},
            () => {},
          );
          const [requestLine = '', ...fields] = uploadHead(image, `Content-Length: ${declaredBytes}`);
          await client.request(requestLine, ...fields, `X-Scenario: ${scenario.upstream}`);
          await client.write(Buffer.alloc(firstBytes));
          if (scenario.upstream === 'waits') {
            await eventually(
              () => upstream.connections.some((c) => c.head.includes(image) && c.bodyBytes === firstBytes),
              `${name}: the first bytes arrive`,
            );
          }
          await scenario.act(client, image, sluice);
          await gone;
          client.destroy();
        }
      };
      await Promise.all(Array.from({ length: together }, worker));
      await eventually(() => assert.equal(sluice.gateway.uploadsUnderWay, 0), 'every upload ends');
      assert.equal(sluice.gateway.savingBytes, 0);
      const metrics = await (await fetch(`http://127.0.0.1:${sluice.adminPort}/metrics`)).text();
      const expected = new Map<Ending, number>();
      for (const { ending } of Object.values(scenarios)) {
        expected.set(ending, (expected.get(ending) ?? 0) + uploads / names.length);
      }
      for (const [ending, count] of expected) {
        assert.equal(
          metrics.includes(`sluice_uploads_total{ending="${ending}"} ${count}\n`),
          true,
          `${ending}: ${count}`,
        );
      }
      const uploadConnections = upstream.connections.filter(({ head }) => head.startsWith('PUT'));
      assert.equal(uploadConnections.length, uploads);
      await Promise.all(uploadConnections.map(({ closed }) => closed));
    } finally {
      await sluice.stop();
      await upstream.stop();
    }
  });
});
