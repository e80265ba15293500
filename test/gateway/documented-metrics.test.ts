import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Metrics } from '../../src/admin/metrics.ts';

describe('docs/metrics.md', () => {
  it('has one row for each metric of Sluice, and every metric begins with sluice_', async () => {
    const zero = (): number => 0;
    const metrics = new Metrics(
      {
        savingBytes: zero,
        uploadsInFlight: zero,
        uploadsUnresolved: zero,
        connections: zero,
        upstreamHealthy: () => true,
      },
      'test',
    );
    const names = (await metrics.registry.getMetricsAsJSON()).map(({ name }) => name);
    assert.deepEqual(
      names.filter((name) => !name.startsWith('sluice_')),
      [],
    );
    const page = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
    const documented = [...page.matchAll(/^\| `(sluice_\w+)` \|/gm)].map(([, name]) => name);
    assert.deepEqual(
      documented.toSorted(),
      names.filter((name) => !/^sluice_(process|nodejs)_/.test(name)).toSorted(),
    );
  });
});
