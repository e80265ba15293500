// Small requests by autocannon, in a process of its own. For each line of its input, `RequestLoad` as JSON, it prints a
// `RequestOutcome`.
import { createInterface } from 'node:readline';
import autocannon from 'autocannon';
import { callerHeaders } from './caller.ts';
import { type RequestOutcome, requestLoadSchema } from './small-requests.ts';

for await (const line of createInterface(process.stdin)) {
  const { url, connections, seconds } = requestLoadSchema.parse(JSON.parse(line));
  const result = await autocannon({ url, connections, duration: seconds, headers: callerHeaders });
  const outcome: RequestOutcome = {
    answered: result['2xx'],
    others: result.non2xx + result.errors + result.timeouts,
    wallMs: result.finish.getTime() - result.start.getTime(),
    medianMs: result.latency.p50,
    slowMs: result.latency.p99,
  };
  console.log(JSON.stringify(outcome));
}
