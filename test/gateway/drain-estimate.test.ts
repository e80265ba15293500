import assert from 'node:assert/strict';
import { mock } from 'node:test';
import { Registry, type Upload } from '../../src/registry.ts';

describe('how long a drain will take', () => {
  let registry: Registry;
  const begin = (declaredBytes: number | null): Upload =>
    registry.begin(registry.newId(), {
      image: 'i',
      owner: { user: 'u', project: 'p' },
      declaredBytes,
      client: '127.0.0.1',
    });
  beforeEach(() => {
    registry = new Registry();
    mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
  });
  afterEach(() => mock.timers.reset());

  it('is the time of the slowest upload, if each goes on as it came', () => {
    const [fast, slow] = [begin(100), begin(1000)];
    mock.timers.tick(10_000);
    fast.progress.receivedBytes = 99;
    slow.progress.receivedBytes = 250;
    begin(null);
    assert.equal(registry.left().expected_seconds, 30);
  });

  it('is unknown as long as one has not begun to move, and where none has said its length', () => {
    begin(null);
    assert.equal(registry.left().expected_seconds, null);
    const upload = begin(100);
    mock.timers.tick(10_000);
    assert.equal(registry.left().expected_seconds, null);
    upload.progress.receivedBytes = 100;
    assert.equal(registry.left().expected_seconds, 0);
  });
});
