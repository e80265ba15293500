import assert from 'node:assert/strict';
import { leaks, secretsKept } from '../support/secrets.ts';

// loaded last: by now every other test has said what was secret and what could be read
describe('the tokens and passwords of the whole run', () => {
  it("stand in no log of a gateway, on no operator's page and in no answer", async function () {
    const { secrets, texts } = secretsKept();
    assert.deepEqual(await leaks(), []);
    if (this.test) this.test.title += ` (${secrets} secrets, ${texts} texts and all logs)`;
  });
});
