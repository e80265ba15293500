import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { errorKinds } from '../../src/core/errors.ts';

describe('docs/errors.md', () => {
  it('has one row for each code, with its status, whose doing it is, whether to retry, and what to do', () => {
    const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
    const documented = [
      ...page.matchAll(/^\| `([a-z-]+)` \| (\d+) \| (\w+) \| (yes|no) \| [^|]+ \| [^|]+ \|$/gm),
    ].map((row) => row.slice(1));
    const known = Object.entries(errorKinds).map(([code, { status, source, retryable }]) => [
      code,
      String(status),
      source,
      retryable ? 'yes' : 'no',
    ]);
    assert.deepEqual(documented, known);
  });
});
