import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { type ImageApi, startImageApi } from '../../src/demo/image-api.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const spanNames = z.object({
  resourceSpans: z.array(
    z.object({ scopeSpans: z.array(z.object({ spans: z.array(z.object({ name: z.string() })) })) }),
  ),
});
const serving = z.object({ msg: z.literal('serving'), listen: z.array(z.string()) });

describe('the example of a set-up for OpenTelemetry', () => {
  let folder: string;
  let api: ImageApi;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-otel-'));
    api = await startImageApi({ port: 0 });
  });
  afterEach(async () => {
    await api.stop();
    rmSync(folder, { recursive: true });
  });

  it('sends the spans to a collector, those of the last second too, before the process ends', async () => {
    const told: string[] = [];
    const collector = createServer(async (request, response) => {
      let text = '';
      for await (const piece of request) text += String(piece);
      const { resourceSpans } = spanNames.parse(JSON.parse(text));
      for (const { scopeSpans } of resourceSpans) {
        told.push(...scopeSpans.flatMap(({ spans }) => spans.map(({ name }) => `${request.url} ${name}`)));
      }
      response.writeHead(200, { 'Content-Type': 'application/json' }).end('{}');
    });
    await once(collector.listen(0, '127.0.0.1'), 'listening');
    const { port } = z.object({ port: z.number() }).parse(collector.address());
    const config = join(folder, 'sluice.yaml');
    writeFileSync(
      config,
      `listen: [{ address: "127.0.0.1:0" }]
admin: { address: "127.0.0.1:0" }
upstream: { servers: ["${api.url}"] }
`,
    );
    const sluice = spawn(process.execPath, ['src/main.ts', 'run', '-c', config], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        ...process.env,
        NODE_OPTIONS: '--import=tsx --import=./config/examples/otel.mjs',
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      },
    });
    const ended = once(sluice, 'exit');
    try {
      for await (const line of createInterface(sluice.stdout)) {
        const { success, data } = serving.safeParse(JSON.parse(line));
        if (!success) continue;
        const answer = await fetch(`http://${data.listen[0]}/v2/images`, {
          headers: { Connection: 'close', 'X-User-Id': 'ann', 'X-Project-Id': 'blue' },
        });
        assert.equal(answer.status, 200);
        await answer.arrayBuffer();
        sluice.kill('SIGTERM');
      }
      assert.deepEqual(await ended, [0, null]);
      assert.deepEqual(told, ['/v1/traces GET /v2/images', '/v1/traces pass /v2/images']);
    } finally {
      sluice.kill('SIGKILL');
      await new Promise((resolve) => collector.close(resolve));
    }
  });
});
