import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { eventually } from '../support/eventually.ts';
import { ScriptedUpstream } from '../support/scripted-upstream.ts';
import { TestGateway, uploadHead } from '../support/test-gateway.ts';

describe('an upload whose upstream vanishes after the last byte', () => {
  for (const [status, answer] of [
    ['active', '200 OK'],
    ['queued', '200 OK'],
    ['gone', '404 Not Found'],
  ] as const) {
    it(`stays counted until its image is ${status}`, async () => {
      let decided = false;
      const upstream = await ScriptedUpstream.start(async (connection) => {
        if (connection.head.startsWith('PUT')) {
          await connection.bodyComplete();
          connection.reset();
        } else {
          const body = JSON.stringify({ status: decided ? status : 'saving', size: null });
          connection.answer(`${decided ? answer : '200 OK'}\r\nConnection: close`, body);
          connection.end();
        }
      });
      const sluice = await TestGateway.start(upstream.port, {
        quota: { limits: [{ per: 'user', saving: 100 }], usage: { source: 'none' } },
        upload: { watch_interval: 0 },
      });
      try {
        const client = await sluice.client();
        await client.request(...uploadHead(randomUUID(), 'Content-Length: 60'));
        await client.write(Buffer.alloc(60));
        assert.equal((await client.response()).status, 502);
        assert.equal(sluice.gateway.uploadsUnderWay, 0);
        assert.equal(sluice.gateway.savingBytes, 60);
        const metrics = await (await fetch(`http://127.0.0.1:${sluice.adminPort}/metrics`)).text();
        assert.equal(metrics.includes('sluice_uploads_total{ending="unknown"} 1\n'), true);
        assert.equal(metrics.includes('sluice_uploads_unresolved 1\n'), true);
        decided = true;
        await eventually(() => assert.equal(sluice.gateway.savingBytes, 0), 'the image has said it');
      } finally {
        await sluice.stop();
        await upstream.stop();
      }
    });
  }
});
