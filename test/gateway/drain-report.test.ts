import assert from 'node:assert/strict';
import { mock } from 'node:test';
import { startImageApi } from '../../src/demo/image-api.ts';
import { Gateway } from '../../src/gateway.ts';
import { createLog } from '../../src/log.ts';
import { eventually } from '../support/eventually.ts';
import { RunningGateway, testConfig } from '../support/running-gateway.ts';

describe('the log of a drain', () => {
  for (const [grace, graceSeconds] of [
    ['60s', 60],
    ['0', null],
  ] as const) {
    it(`says what it waits for, at the start and every ten seconds, with a grace of ${grace}`, async () => {
      const lines: Record<string, unknown>[] = [];
      const api = await startImageApi({ port: 0 });
      const log = createLog('info', { write: (line: string) => lines.push(JSON.parse(line)) });
      const gateway = new Gateway(
        testConfig({ upstream: { servers: [api.url] }, log: { access: false }, shutdown_grace: grace }),
        log,
        'test',
      );
      await gateway.start();
      const running = new RunningGateway(gateway);
      const drainLines = (): Record<string, unknown>[] => lines.filter(({ msg }) => msg === 'draining');
      try {
        const sized = await running.uploading(await running.create(), ['Content-Length: 100']);
        await sized.write(Buffer.alloc(40));
        const unsized = await running.uploading(await running.create(), ['Transfer-Encoding: chunked']);
        await unsized.chunk('x');
        await eventually(async () => {
          const bytes = (await running.uploads()).uploads.map(({ received_bytes }) => received_bytes);
          return bytes.toSorted().join() === '1,40';
        }, 'both are under way');
        mock.timers.enable({ apis: ['setInterval'] });
        const drained = gateway.drain();
        mock.timers.tick(9_999);
        assert.equal(drainLines().length, 1);
        await sized.write(Buffer.alloc(30));
        await eventually(async () =>
          (await running.uploads()).uploads.some((row) => row.received_bytes === 70),
        );
        mock.timers.tick(1);
        const [first = {}, second = {}, ...more] = drainLines();
        assert.deepEqual(more, []);
        const { uploads, declared_bytes, bytes_to_come, uploads_of_unknown_length } = first;
        assert.deepEqual(
          [uploads, declared_bytes, bytes_to_come, uploads_of_unknown_length],
          [2, 100, 60, 1],
        );
        assert.equal(second.bytes_to_come, 30);
        assert.equal(first.grace_seconds, graceSeconds);
        assert.equal(typeof first.expected_seconds, 'number');
        assert.equal(first.requests, 2);
        sized.destroy();
        unsized.destroy();
        await drained;
        assert.equal(lines.at(-1)?.msg, 'drained');
        mock.timers.tick(60_000);
        assert.equal(drainLines().length, 2, 'nothing is said when it is over');
      } finally {
        mock.timers.reset();
        await running.stop();
        await api.stop();
      }
    });
  }
});
