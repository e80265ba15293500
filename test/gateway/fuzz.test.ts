import assert from 'node:assert/strict';
import { fuzz } from '../fuzz/fuzz-run.ts';

/** The short form of `npm run test:fuzz`, with the same cases each time. */
const seed = 20_260_723;
const requests = 2_000;

describe('whatever clients and upstreams send', () => {
  it('the gateway stays up, leaves nothing behind, passes on nothing unclean, and lets nothing broken look whole', async function () {
    this.timeout(120_000);
    const { failures, sent } = await fuzz({ seed, first: 0, requests });
    assert.equal(failures.length, 0, failures.join('\n\n'));
    assert.equal(sent >= requests, true);
  });
});
