import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { capacityPageFile, pageOfRuns } from '../../nginx-compare/capacity-files.ts';

describe('docs/capacity.md', () => {
  it('says what the runs in nginx-compare/results gave, to the last digit', async () => {
    assert.equal(await readFile(capacityPageFile, 'utf8'), await pageOfRuns());
  });
});
