// Spans through the OpenTelemetry API alone: without an SDK in the process every call here does nothing
// (docs/tracing.md, docs/decisions/0010). Contexts are handed on by value; the span of a request is the active one too, for
// what an operator instruments besides.
import {
  type Attributes,
  type Context,
  context,
  isSpanContextValid,
  ProxyTracerProvider,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapGetter,
  type TextMapSetter,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';
import { type AccessRecord, clientClosedStatus } from './access.ts';
import type { ErrorCode } from './core/errors.ts';
import type { Scheme } from './core/forwarded.ts';
import { joinedHeader, type RawHeaders, replacedHeaders } from './core/headers.ts';
import type { Operation } from './core/operation.ts';
import { type TraceContext, traceContext } from './core/trace-context.ts';

export interface TracedRequest {
  readonly headers: RawHeaders;
  readonly method: string;
  readonly httpVersion: string;
  readonly scheme: Scheme;
}

const tracerName = 'sluice';

const noProvider = new ProxyTracerProvider().getDelegate();

/** Without an SDK, and without a propagator, every call here would do nothing, at a cost: then there are no spans. */
function isTraced(): boolean {
  const provider = trace.getTracerProvider();
  const none = provider instanceof ProxyTracerProvider && provider.getDelegate() === noProvider;
  return !none || propagation.fields().length > 0;
}

/** The span of one request of a client. */
export class RequestTrace {
  /** What the client sent, where it is well-formed. */
  readonly incoming: TraceContext | null;
  /** Of the span; without an SDK that of the client; null where there is neither. */
  readonly traceId: string | null;
  readonly #span: Span | null = null;
  readonly #context: Context | null = null;

  constructor({ headers, method, httpVersion, scheme }: TracedRequest) {
    this.incoming = traceContext(headers);
    this.traceId = this.incoming?.traceId ?? null;
    if (!isTraced()) return;
    const parent = parentOf({ headers, incoming: this.incoming });
    this.#span = trace.getTracer(tracerName).startSpan(
      method,
      {
        kind: SpanKind.SERVER,
        attributes: {
          'http.request.method': method,
          'network.protocol.version': httpVersion,
          'url.scheme': scheme,
        },
      },
      parent,
    );
    this.#context = trace.setSpan(parent, this.#span);
    const spanContext = this.#span.spanContext();
    if (isSpanContextValid(spanContext)) this.traceId = spanContext.traceId;
  }

  /** Runs with the span as the active one. */
  within<T>(run: () => T): T {
    return this.#context === null ? run() : context.with(this.#context, run);
  }

  /** The headers with this span as the parent of what they ask for; as they are without an SDK. */
  propagated(headers: RawHeaders): RawHeaders {
    return this.#context === null ? headers : propagatedFrom(this.#context, headers);
  }

  /** Begins the span of the call upstream that this request is about. */
  call(method: string, operation: Operation, headers: RawHeaders): UpstreamCall {
    return new UpstreamCall(this.#context, { method, operation, headers });
  }

  /** Ends the span with what the log says of the request, and no more. */
  end(record: AccessRecord): void {
    if (this.#span === null) return;
    if (this.#span.isRecording()) {
      this.#span.updateName(`${record.action} ${record.route}`);
      this.#span.setAttributes(attributesOf(record));
      // semantic conventions: what the client did wrong is no error of the server's span
      if (record.status >= 500) this.#span.setStatus({ code: SpanStatusCode.ERROR });
    }
    this.#span.end();
  }
}

interface CallOptions {
  readonly method: string;
  readonly operation: Operation;
  readonly headers: RawHeaders;
}

/** The span of a request that goes upstream: the upload leg, or one that is passed on. */
export class UpstreamCall {
  /** What goes upstream: the request's headers with this span as the parent; as they were without an SDK. */
  readonly headers: RawHeaders;
  readonly #span: Span | null = null;
  readonly #operation: Operation;

  /** @param parent null where there are no spans. */
  constructor(parent: Context | null, { method, operation, headers }: CallOptions) {
    this.#operation = operation;
    this.headers = headers;
    if (parent === null) return;
    this.#span = trace
      .getTracer(tracerName)
      .startSpan(`${method} ${operation.route}`, { kind: SpanKind.CLIENT }, parent);
    this.headers = propagatedFrom(trace.setSpan(parent, this.#span), headers);
    if (!this.#span.isRecording()) return;
    this.#span.setAttributes({ 'http.request.method': method, 'url.template': operation.route });
  }

  /** The server that is tried next; the last one is what the span says. */
  sentTo(origin: URL): void {
    if (!this.#span?.isRecording()) return;
    const path = pathOf(this.#operation);
    this.#span.setAttributes({
      'server.address': origin.hostname.replace(/^\[|\]$/g, ''),
      'server.port': Number(origin.port || (origin.protocol === 'https:' ? 443 : 80)),
      ...(path !== null && { 'url.full': `${origin.origin}${path}` }),
    });
  }

  /** The head of the answer is here. */
  answered(status: number): void {
    if (!this.#span?.isRecording()) return;
    this.#span.setAttribute('http.response.status_code', status);
    if (status >= 400) this.#fail(String(status));
  }

  /** There was no answer, or not all of it. */
  failed(code: ErrorCode): void {
    if (this.#span?.isRecording()) this.#fail(code);
  }

  end(): void {
    this.#span?.end();
  }

  #fail(type: string): void {
    this.#span?.setAttribute('error.type', type);
    this.#span?.setStatus({ code: SpanStatusCode.ERROR });
  }
}

/** Null where the path is none that the profile knows: nobody can say what a client put there. */
function pathOf({ route, target }: Operation): string | null {
  return route === 'other' ? null : (target.split('?')[0] ?? null);
}

function attributesOf(record: AccessRecord): Attributes {
  const { user, project, image, upload, lane, ending, error, upstreamRequestId, status } = record;
  return {
    'http.route': record.route,
    'client.address': record.client,
    // nobody was sent that one
    ...(status !== clientClosedStatus && { 'http.response.status_code': status }),
    ...(status >= 500 && { 'error.type': error ?? String(status) }),
    'sluice.action': record.action,
    'sluice.request_id': record.requestId,
    ...(upstreamRequestId !== null && { 'sluice.upstream_request_id': upstreamRequestId }),
    ...(user !== null && { 'sluice.owner.user': user }),
    ...(project !== null && { 'sluice.owner.project': project }),
    ...(image !== null && { 'sluice.image': image }),
    ...(upload !== null && { 'sluice.upload': upload }),
    ...(lane !== null && { 'sluice.lane': lane }),
    ...(ending !== null && { 'sluice.ending': ending }),
    ...(error !== null && { 'sluice.error': error }),
    'sluice.received_bytes': record.receivedBytes,
    'sluice.sent_bytes': record.sentBytes,
    'sluice.answered_bytes': record.answeredBytes,
  };
}

interface Incoming {
  readonly headers: RawHeaders;
  readonly incoming: TraceContext | null;
}

/** Whatever fields the operator's propagator asks for; of those of W3C only what is well-formed. */
const incomingFields: TextMapGetter<Incoming> = {
  keys: ({ headers }) => headers.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase()),
  get: ({ headers, incoming }, key) => {
    const name = key.toLowerCase();
    if (name === 'traceparent') return incoming?.traceparent;
    if (name === 'tracestate') return incoming?.tracestate ?? undefined;
    return joinedHeader(headers, name);
  },
};

/** A propagator that chokes on what a client sent costs the trace, not the request. */
function parentOf(incoming: Incoming): Context {
  try {
    return propagation.extract(context.active(), incoming, incomingFields);
  } catch {
    return context.active();
  }
}

const intoFields: TextMapSetter<string[]> = {
  set: (fields, key, value) => void fields.push(key, value),
};

function propagatedFrom(from: Context, headers: RawHeaders): RawHeaders {
  const fields: string[] = [];
  try {
    propagation.inject(from, fields, intoFields);
  } catch {
    return headers;
  }
  return fields.length === 0 ? headers : replacedHeaders(headers, fields);
}

/** How long the process waits at its end for spans to be sent. */
const longestFlushMs = 3_000;

/** Sends the spans that an SDK still holds, before the process ends. Never throws. */
export async function flushSpans(): Promise<void> {
  const global = trace.getTracerProvider();
  const provider: TracerProvider = global instanceof ProxyTracerProvider ? global.getDelegate() : global;
  if (!('forceFlush' in provider) || typeof provider.forceFlush !== 'function') return;
  const bound = new Promise<void>((resolve) => setTimeout(resolve, longestFlushMs).unref());
  try {
    await Promise.race([provider.forceFlush(), bound]);
  } catch {
    // the SDK has told its own log already
  }
}
