import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { z } from 'zod';

const lineSchema = z.object({ line: z.int() });

describe('the log of a process that ends', () => {
  it('has every line, in order, though none was written yet when it began to end', async () => {
    const child = fork(new URL('../support/talkative.ts', import.meta.url), {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    assert.ok(child.stdout !== null);
    const [said, [status]] = await Promise.all([text(child.stdout), once(child, 'close')]);
    assert.equal(status, 0);
    const lines = said.trimEnd().split('\n');
    assert.deepEqual(
      lines.map((line) => lineSchema.parse(JSON.parse(line)).line),
      Array.from({ length: 1_000 }, (_, line) => line),
    );
  });
});
