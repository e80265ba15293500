import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { MiB } from '../../src/core/units.ts';
import { eventually } from '../support/eventually.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

/** More than all buffers between a client and an upstream that does not read. */
const bodyBytes = 256 * MiB;

describe('a client that resets its connection while the API takes nothing and its body waits unread', () => {
  for (const framing of ['Content-Length', 'chunked'] as const) {
    it(`ends its upload, though no timeout would (${framing})`, async () => {
      const upstream = await ScriptedUpstream.start((connection) => connection.stopReading());
      const sluice = await TestGateway.start(upstream.port, {
        upload: { chunk_timeout: 0, watch_interval: 0 },
        client_socket_timeout: 0,
        quota: { usage: { source: 'none' } },
      });
      try {
        const client = await sluice.client();
        client.response().catch(() => {});
        const field = framing === 'chunked' ? 'Transfer-Encoding: chunked' : `Content-Length: ${bodyBytes}`;
        await client.request(...uploadHead(randomUUID(), field));
        if (framing === 'chunked') void client.write(`${bodyBytes.toString(16)}\r\n`);
        void client.write(Buffer.alloc(bodyBytes));
        let received = 0;
        let unchanged = 0;
        await eventually(async () => {
          const [upload] = await sluice.uploads();
          const before = received;
          received = upload?.received_bytes ?? 0;
          unchanged = received > 0 && received === before ? unchanged + 1 : 0;
          return unchanged === 25;
        }, 'nothing moves any more');
        client.reset();
        await eventually(() => assert.equal(sluice.gateway.uploadsUnderWay, 0), 'the upload ends');
        assert.equal(sluice.gateway.savingBytes, 0);
        const metrics = await (await fetch(`http://127.0.0.1:${sluice.adminPort}/metrics`)).text();
        assert.equal(metrics.includes('sluice_uploads_total{ending="client-gone"} 1\n'), true);
      } finally {
        await sluice.stop();
        await upstream.stop();
      }
    });
  }
});
