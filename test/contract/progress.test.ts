import assert from 'node:assert/strict';
import { Progress } from '../../src/lanes/progress.ts';

describe('the progress of an upload', () => {
  it('begins with nothing, in the lane that is always there', () => {
    const { lane, endSent, receivedBytes, sentBytes } = new Progress();
    assert.deepEqual(
      { lane, endSent, receivedBytes, sentBytes },
      {
        lane: 'stream',
        endSent: false,
        receivedBytes: 0,
        sentBytes: 0,
      },
    );
  });

  it('shows what is counted elsewhere as it grows, and the last of it when that is over', () => {
    const progress = new Progress();
    progress.receivedBytes = 5;
    progress.sentBytes = 3;
    const counted = { endReceived: false, receivedBytes: 7, sentBytes: 4 };
    progress.follow(counted);
    assert.equal(progress.receivedBytes, 7);
    counted.receivedBytes = 100;
    counted.sentBytes = 99;
    assert.equal(progress.receivedBytes, 100);
    assert.equal(progress.sentBytes, 99);
    progress.follow(null);
    counted.receivedBytes = 0;
    counted.sentBytes = 0;
    assert.equal(progress.receivedBytes, 100);
    assert.equal(progress.sentBytes, 99);
  });

  it('keeps what was counted by one when it follows another', () => {
    const progress = new Progress();
    progress.follow({ endReceived: false, receivedBytes: 7, sentBytes: 4 });
    progress.follow({ endReceived: false, receivedBytes: 9, sentBytes: 8 });
    assert.equal(progress.receivedBytes, 9);
    progress.follow(null);
    assert.equal(progress.sentBytes, 8);
  });

  it('is counted by hand again afterwards', () => {
    const progress = new Progress();
    progress.follow({ endReceived: false, receivedBytes: 7, sentBytes: 4 });
    progress.follow(null);
    progress.receivedBytes += 1;
    progress.sentBytes += 2;
    assert.equal(progress.receivedBytes, 8);
    assert.equal(progress.sentBytes, 6);
  });
});
