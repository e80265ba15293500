// What the headers for the API and the spans cost a request, without an SDK of OpenTelemetry and with one that throws its spans
// away. No socket is involved. Run: npm run bench:headers
import { propagation, trace } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { BasicTracerProvider, NoopSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { newRecord } from '../../src/access.ts';
import { forwarded } from '../../src/core/forwarded.ts';
import { requestHeaders } from '../../src/core/headers.ts';
import { hopFields } from '../../src/core/hop-fields.ts';
import { traceContext } from '../../src/core/trace-context.ts';
import { Networks } from '../../src/http/networks.ts';
import { RequestTrace } from '../../src/tracing.ts';
import { alternate, row } from '../rounds.ts';

const operations = 100_000;
const rounds = 7;
const headers = [
  ...['Host', 'images.example:9191', 'User-Agent', 'openstacksdk', 'Accept', '*/*'],
  ...['X-Auth-Token', `gAAAAA${'x'.repeat(180)}`, 'Content-Type', 'application/octet-stream'],
  ...['Content-Length', '0', 'X-Forwarded-For', '203.0.113.9', 'X-Forwarded-Proto', 'https'],
  ...['Traceparent', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
];
const origin = new URL('http://127.0.0.1:9292');
const operation = {
  action: 'upload',
  route: '/v2/images/{image}/file',
  image: 'i',
  target: '/v2/images/i/file',
  upgrade: false,
} as const;
const kept = {
  method: 'PUT',
  trustIdentity: false,
  trustServiceToken: false,
  identityNames: new Set<string>(),
  sizeHeader: 'x-openstack-image-size',
};
const strangers = new Networks([]);
const proxies = new Networks(['127.0.0.0/8']);

const ours = (trusted: Networks): void => {
  const hop = { peerAddress: '127.0.0.1', scheme: 'http' } as const;
  hopFields(headers, {
    forwarded: forwarded(headers, hop, (address) => trusted.has(address)),
    httpVersion: '1.1',
    pseudonym: 'sluice-0123456789abcdef',
    requestId: 'req-1',
    trace: traceContext(headers),
  });
};
const spans = (): void => {
  const traced = new RequestTrace({ headers, method: 'PUT', httpVersion: '1.1', scheme: 'http' });
  traced.within(() => {
    const call = traced.call('PUT', operation, traced.propagated(headers));
    call.sentTo(origin);
    call.answered(204);
    call.end();
  });
  traced.end(newRecord('req-1', 'PUT'));
};
const timed = async (operate: () => void): Promise<number> => {
  const beganMs = performance.now();
  for (let i = 0; i < operations; i += 1) operate();
  return ((performance.now() - beganMs) * 1000) / operations;
};

const figures = await alternate(
  {
    'the headers that are kept (peer)': () => timed(() => requestHeaders(headers, kept)),
    'ours, from a stranger': () => timed(() => ours(strangers)),
    'ours, from a trusted proxy': () => timed(() => ours(proxies)),
    'spans without an SDK': () => timed(spans),
    'spans with an SDK': async () => {
      trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new NoopSpanProcessor()] }));
      propagation.setGlobalPropagator(new W3CTraceContextPropagator());
      const figure = await timed(spans);
      trace.disable();
      propagation.disable();
      return figure;
    },
  },
  rounds,
);
const [peer = []] = figures.values();
console.log(`Node ${process.version}, ${rounds} rounds of ${operations} operations each\n`);
console.log('| operation | median | spread | ratio |\n| --- | --- | --- | --- |');
for (const [name, each] of figures) console.log(row(name, each, peer, 'µs'));
