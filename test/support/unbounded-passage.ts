import { Bound } from '../../src/core/bound.ts';
import { EndGate } from '../../src/core/end-gate.ts';
import { MiB } from '../../src/core/units.ts';
import type { Passage } from '../../src/lanes/lane.ts';
import { Progress } from '../../src/lanes/progress.ts';

/** What a lane is told of a body, but for what it moves and from where to where: no limit, no deadline, nobody who stops it. */
export function unboundedPassage(): Omit<
  Passage,
  'client' | 'upstream' | 'declaredBytes' | 'endFollows' | 'allowedBytes' | 'allowMore' | 'interrupted'
> {
  return {
    end: new EndGate(),
    maxBytes: 0,
    frameBytes: MiB,
    chunkBytes: MiB,
    spliceFromBytes: 0,
    flushAfterMs: 10,
    chunkTimeoutMs: 0,
    clientSocketTimeoutMs: 0,
    leastRate: null,
    timeLimit: { baseMs: 0, perGibMs: 0 },
    progress: new Progress(),
    buffered: new Bound(0),
    signal: new AbortController().signal,
  };
}
