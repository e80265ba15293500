import { monitorEventLoopDelay } from 'node:perf_hooks';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';

/** How often the delay of the event loop is looked at; what Node measures has this much in it. */
const delayResolutionMs = 10;

let measured: Registry | null = null;

/**
 * What is measured of this process. One for all gateways in it: what looks at Node's garbage collector cannot be stopped, and
 * would keep everything that is in one registry with it.
 */
export function processMetrics(): Registry {
  if (measured === null) {
    measured = new Registry();
    collectDefaultMetrics({ register: measured, prefix: 'sluice_' });
    measureEventLoopDelay([measured]);
  }
  return measured;
}

/** How late the event loop came since the last time it was asked. Node's own figure has the time between two looks in it. */
function measureEventLoopDelay(registers: Registry[]): void {
  const delays = monitorEventLoopDelay({ resolution: delayResolutionMs });
  delays.enable();
  const seconds = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e9 - delayResolutionMs / 1e3);
  new Gauge({
    name: 'sluice_event_loop_delay_seconds',
    help: 'How late timers came since the last reading of the metrics: half, 99 of 100, and all came no later than this.',
    labelNames: ['quantile'],
    registers,
    collect() {
      const none = delays.count === 0;
      this.set({ quantile: '0.5' }, none ? 0 : seconds(delays.percentile(50)));
      this.set({ quantile: '0.99' }, none ? 0 : seconds(delays.percentile(99)));
      this.set({ quantile: '1' }, none ? 0 : seconds(delays.max));
      delays.reset();
    },
  });
}
