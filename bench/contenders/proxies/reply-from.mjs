import replyFrom from '@fastify/reply-from';
import fastify from 'fastify';

export function serve(port, upstreamPort) {
  // bodies of any length pass as the streams that they are
  const server = fastify({ bodyLimit: Number.MAX_SAFE_INTEGER });
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
  server.register(replyFrom, { base: `http://127.0.0.1:${upstreamPort}` });
  server.all('/*', (request, reply) => reply.from(request.raw.url));
  server.listen({ port, host: '127.0.0.1', backlog: 4096 });
}
