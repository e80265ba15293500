import assert from 'node:assert/strict';
import { GatewayError } from '../../src/core/errors.ts';
import { AnswerDeadline } from '../../src/http/answer-deadline.ts';

const givenUp = (deadline: AnswerDeadline): Promise<unknown> =>
  new Promise((resolve) => deadline.addEventListener('abort', () => resolve(deadline.reason)));

describe('the time for a question of our own', () => {
  it('ends with an answer that did not come in time', async () => {
    const deadline = new AnswerDeadline(1, undefined);
    const reason = await givenUp(deadline);
    assert.ok(reason instanceof GatewayError && reason.code === 'upstream-timeout');
    assert.equal(deadline.aborted, true);
  });

  it('ends with the signal that was given, for its reason', async () => {
    const given = new AbortController();
    const deadline = new AnswerDeadline(0, given.signal);
    const ended = givenUp(deadline);
    given.abort('deleted');
    assert.equal(await ended, 'deleted');
  });

  it('is over from the start where the signal was', () => {
    const { aborted, reason } = new AnswerDeadline(0, AbortSignal.abort('deleted'));
    assert.deepEqual({ aborted, reason }, { aborted: true, reason: 'deleted' });
  });

  it('leaves the signal alone when the question is answered', () => {
    const given = new AbortController();
    const deadline = new AnswerDeadline(0, given.signal);
    deadline.end();
    given.abort('deleted');
    assert.equal(deadline.aborted, false);
  });
});
