// The least that has to stand beside nginx for what Sluice does by itself: says who a client is, and whether its
// Content-Length fits into what its project may store. nginx asks it by `auth_request` before each request, and tells it
// by syslog how each ended. Arguments: the port, of both protocols; the URL of Keystone; bytes that a project may store.
//
// It is honest and small, and what it cannot do is what nginx cannot tell it: a body of unknown length is counted when
// it has come in, and a lost datagram leaves its bytes reserved until this process ends.
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { z } from 'zod';

const [portText, keystone = '', limitText] = process.argv.slice(2);
const port = Number(portText);
const limitBytes = Number(limitText);
/** As Sluice's `identity.keystone.cache_ttl`. */
const believedMs = 300_000;

const tokenAnswer = z.object({
  token: z.object({ project: z.object({ id: z.string() }), expires_at: z.string() }),
});
const endedSchema = z.object({ id: z.string(), status: z.number(), bytes: z.number() });

interface Known {
  readonly project: string;
  readonly untilMs: number;
}

/** By hash of a token. */
const known = new Map<string, Known>();
/** By project, with what is reserved. */
const usedBytes = new Map<string, number>();
/** By request. */
const reserved = new Map<string, { readonly project: string; readonly bytes: number }>();

const add = (project: string, bytes: number): void => {
  usedBytes.set(project, (usedBytes.get(project) ?? 0) + bytes);
};

/** Null for a token that is not valid. */
async function projectOf(token: string): Promise<string | null> {
  const hash = createHash('sha256').update(token).digest('base64');
  const now = Date.now();
  const remembered = known.get(hash);
  if (remembered !== undefined && remembered.untilMs > now) return remembered.project;
  const answer = await fetch(`${keystone}/auth/tokens`, {
    headers: { 'X-Auth-Token': token, 'X-Subject-Token': token },
  });
  if (!answer.ok) return null;
  const { token: document } = tokenAnswer.parse(await answer.json());
  const untilMs = Math.min(now + believedMs, Date.parse(document.expires_at));
  known.set(hash, { project: document.project.id, untilMs });
  return document.project.id;
}

/** @returns the status for `auth_request`, which takes no other than 2xx, 401 and 403. */
async function admit({ headers }: IncomingMessage): Promise<204 | 401 | 403> {
  const token = headers['x-auth-token'];
  const project = typeof token === 'string' ? await projectOf(token) : null;
  if (project === null) return 401;
  if (headers['x-request-method'] !== 'PUT') return 204;
  const bytes = Number(headers['x-request-length'] ?? 0);
  if ((usedBytes.get(project) ?? 0) + bytes > limitBytes) return 403;
  add(project, bytes);
  reserved.set(String(headers['x-request-id']), { project, bytes });
  return 204;
}

const server = createServer((request, response) => {
  void admit(request)
    .catch(() => 500)
    .then((status) => response.writeHead(status).end());
});
const ended = createSocket('udp4', (datagram) => {
  const text = datagram.toString();
  const { id, status, bytes } = endedSchema.parse(JSON.parse(text.slice(text.indexOf('{'))));
  const reservation = reserved.get(id);
  if (reservation === undefined) return;
  reserved.delete(id);
  const storedBytes = status >= 200 && status < 300 ? bytes : 0;
  add(reservation.project, storedBytes - reservation.bytes);
});
ended.bind(port, '127.0.0.1');
await once(ended, 'listening');
server.listen(port, '127.0.0.1', 4096);
