import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { callerHeaders } from './caller.ts';
import { CheckingOrigin } from './checking-origin.ts';
import { imageRecord } from './image-record.ts';
import { LineProcess } from './line-process.ts';
import { Origin } from './origin.ts';
import { ProcessUsage } from './process-usage.ts';
import type { OpenWorkload, Workload } from './workload.ts';

export const requestLoadSchema = z.object({
  url: z.string(),
  connections: z.number(),
  /** A whole number. */
  seconds: z.number(),
});

const outcomeSchema = z.object({
  /** With 2xx. */
  answered: z.number(),
  /** Answered with another status, or not. */
  others: z.number(),
  wallMs: z.number(),
  medianMs: z.number(),
  /** 99 of 100 are answered within. */
  slowMs: z.number(),
});

export type RequestOutcome = z.infer<typeof outcomeSchema>;

export interface SmallRequestsOptions {
  readonly name: string;
  readonly title: string;
  /** At once. */
  readonly connections: number;
  readonly roundSeconds: number;
}

const target = `/v2/images/${randomUUID()}`;

/** GET of one image's record, over connections that are kept, as many as it can. */
export function smallRequests(options: SmallRequestsOptions): Workload {
  return {
    name: options.name,
    title: options.title,
    figures: [
      { key: 'cpu', title: 'CPU', unit: 'µs/request', better: 'less', plotted: true },
      { key: 'speed', title: 'requests', unit: '1/s', better: 'more', plotted: true },
      { key: 'median', title: 'median', unit: 'ms', better: 'less', plotted: false },
      { key: 'slow', title: '99 of 100 within', unit: 'ms', better: 'less', plotted: false },
      { key: 'generator', title: 'CPU of the generator', unit: 'µs/request', better: 'less', plotted: false },
      { key: 'origin', title: 'CPU of the origin', unit: 'µs/request', better: 'less', plotted: false },
    ],
    async prove(contender) {
      const origin = await CheckingOrigin.start(Buffer.alloc(0));
      try {
        const running = await contender.start({ originPort: origin.port });
        try {
          const url = `http://127.0.0.1:${running.port}${target}`;
          const answer = await fetch(url, { headers: callerHeaders });
          if (answer.status !== 200) throw new Error(`it was answered ${answer.status}`);
          if ((await answer.text()) !== imageRecord) throw new Error('the answer was changed');
        } finally {
          await running.stop();
        }
      } finally {
        await origin.stop();
      }
    },
    open: () => openSmallRequests(options),
  };
}

async function openSmallRequests({ connections, roundSeconds }: SmallRequestsOptions): Promise<OpenWorkload> {
  const origin = await Origin.start({ downloadBytes: 0 });
  const generator = new LineProcess('request-program.ts');
  const others = [new ProcessUsage([generator.pid]), new ProcessUsage([origin.pid])];
  return {
    originPort: origin.port,
    rounds(running) {
      const usages = [new ProcessUsage(running.pids), ...others];
      let warm = false;
      return async () => {
        // code that is called a thousand times is compiled anew; that is to be over before the first round that counts
        const seconds = Math.max(1, Math.round(roundSeconds)) * (warm ? 1 : 2);
        warm = true;
        const url = `http://127.0.0.1:${running.port}${target}`;
        const began = usages.map((each) => each.cpuSeconds());
        generator.tell(JSON.stringify({ url, connections, seconds }));
        const outcome = outcomeSchema.parse(JSON.parse(await generator.line()));
        const used = usages.map((each, i) => each.cpuSeconds() - (began[i] ?? 0));
        if (outcome.others > 0) throw new Error(`${outcome.others} requests were not answered 200`);
        const [cpu = 0, generatorCpu = 0, originCpu = 0] = used.map(
          (seconds) => (seconds * 1e6) / outcome.answered,
        );
        return {
          ...(running.pids.length > 0 && { cpu }),
          speed: outcome.answered / (outcome.wallMs / 1000),
          median: outcome.medianMs,
          slow: outcome.slowMs,
          generator: generatorCpu,
          origin: originCpu,
        };
      };
    },
    async close() {
      await generator.stop();
      await origin.stop();
    },
  };
}
