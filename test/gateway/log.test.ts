import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { mock } from 'node:test';
import { z } from 'zod';
import { LineBatch } from '../../src/line-batch.ts';

const lineSchema = z.object({ line: z.int() });

describe('the log of a process at its end', () => {
  for (const [how, count, expected] of [
    ['ends', 1, 0],
    ['ends', 1_000, 0],
    ['dies', 1_000, 1],
  ] as const) {
    it(`has every line, in order, though none was written yet when it ${how} (${count} of them)`, async () => {
      const child = fork(new URL('../support/talkative.ts', import.meta.url), [`${count}`, how], {
        stdio: ['ignore', 'pipe', 'ignore', 'ipc'],
      });
      assert.ok(child.stdout !== null);
      const [said, [status]] = await Promise.all([text(child.stdout), once(child, 'close')]);
      assert.equal(status, expected);
      const lines = said.trimEnd().split('\n');
      assert.deepEqual(
        lines.map((line) => lineSchema.parse(JSON.parse(line)).line),
        Array.from({ length: count }, (_, line) => line),
      );
    });
  }
});

describe('lines of the log', () => {
  afterEach(() => mock.timers.reset());

  it('that come within 10 ms are written together, and one alone then', () => {
    mock.timers.enable({ apis: ['setTimeout'] });
    const written: string[] = [];
    const batch = new LineBatch((lines) => written.push(lines));
    batch.write('one\n');
    mock.timers.tick(9);
    batch.write('two\n');
    assert.deepEqual(written, []);
    mock.timers.tick(1);
    assert.deepEqual(written, ['one\ntwo\n']);
    batch.write('three\n');
    mock.timers.tick(10);
    assert.deepEqual(written, ['one\ntwo\n', 'three\n']);
    mock.timers.tick(1_000);
    batch.flush();
    assert.equal(written.length, 2);
  });

  it('that are 64 KiB are written at once', () => {
    mock.timers.enable({ apis: ['setTimeout'] });
    const written: string[] = [];
    const batch = new LineBatch((lines) => written.push(lines));
    batch.write('x'.repeat(64 * 1024 - 1));
    assert.deepEqual(written, []);
    batch.write('\n');
    assert.equal(written.length, 1);
  });
});
