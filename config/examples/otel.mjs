// Sends Sluice's spans to an OpenTelemetry collector, over OTLP/HTTP. See docs/tracing.md.
//
//   npm install @opentelemetry/{core,resources,sdk-trace-base,context-async-hooks}@2 @opentelemetry/exporter-trace-otlp-http@0.223
//   NODE_OPTIONS='--import ./config/examples/otel.mjs' node dist/main.js run -c FILE
//
// Where to, how many and how: the variables of OpenTelemetry, such as OTEL_EXPORTER_OTLP_ENDPOINT (http://localhost:4318)
// and OTEL_TRACES_SAMPLER.
import { context, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';

const provider = new BasicTracerProvider({
  resource: resourceFromAttributes({ 'service.name': process.env.OTEL_SERVICE_NAME ?? 'sluice' }),
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
});

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
propagation.setGlobalPropagator(new W3CTraceContextPropagator());
trace.setGlobalTracerProvider(provider);
