import { Bound } from '../../src/core/bound.ts';
import { StreamLane } from '../../src/lanes/stream.ts';
import { describeLane } from './lane.ts';

let buffered: Bound[] = [];

describeLane({
  name: 'stream',
  newLane: async () => new StreamLane(),
  bound: (mostBytes) => {
    const bound = new Bound(mostBytes);
    buffered.push(bound);
    return bound;
  },
  left: () => {
    const held = buffered.map((bound) => bound.held).filter((bytes) => bytes !== 0);
    if (held.length === 0) buffered = [];
    return held.length === 0 ? {} : { held };
  },
  stop: async () => {},
});
