import replyFrom from '@fastify/reply-from';
import fastify from 'fastify';

export function serve(port, upstreamPort) {
  // bodies of any length pass as the streams that they are
  const server = fastify({ bodyLimit: Number.MAX_SAFE_INTEGER });
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
  // 128 connections without that: a hundred slow uploads would keep all others waiting
  server.register(replyFrom, {
    base: `http://127.0.0.1:${upstreamPort}`,
    undici: { connections: 10_000, pipelining: 1 },
  });
  server.all('/*', (request, reply) => reply.from(request.raw.url));
  server.listen({ port, host: '127.0.0.1', backlog: 4096 });
}
