import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { Metrics } from '../../src/admin/metrics.ts';

describe('docs/metrics.md', () => {
  it('has one row for each metric of Sluice with its type and labels, and every metric begins with sluice_', async () => {
    const zero = (): number => 0;
    const metrics = new Metrics(
      {
        savingBytes: zero,
        orphans: zero,
        spliceLaneUp: zero,
        certificates: () => [],
        importsWatched: zero,
        uploadsInFlight: zero,
        uploadsUnresolved: zero,
        connections: zero,
        bufferedBytes: zero,
        mostConnections: zero,
        mostUploads: zero,
        mostBufferedBytes: zero,
        servers: () => [],
      },
      'test',
    );
    const found = (await metrics.registry.getMetricsAsJSON()).map(({ name, type }) => ({
      name,
      type: String(type),
    }));
    assert.deepEqual(
      found.filter(({ name }) => !name.startsWith('sluice_')),
      [],
    );
    const page = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
    const rows = [...page.matchAll(/^\| `(sluice_\w+)` \| (\w+) \| ([^|]*) \| [^|]+ \|$/gm)];
    const documented = rows.map(([, name = '', type = '', labels = '']) => ({
      name,
      type,
      labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label),
    }));
    const ours = found.filter(({ name }) => !/^sluice_(process|nodejs)_/.test(name));
    assert.deepEqual(
      documented,
      ours.map(({ name, type }) => ({
        name,
        type,
        labels: labelsOf(metrics.registry.getSingleMetric(name)),
      })),
    );
    assert.match(page, /`sluice_process_` and `sluice_nodejs_`/);
  });
});

/** prom-client keeps the names of the labels and has no word for them in its types. */
function labelsOf(metric: unknown): string[] {
  return z.object({ labelNames: z.array(z.string()) }).parse(metric).labelNames;
}
