import { limitsStored } from './charges.ts';
import type { Config } from './config/config.ts';
import { GatewayError } from './core/errors.ts';
import type { BodyFraming } from './core/framing.ts';
import { joinedHeader } from './core/headers.ts';
import { touches } from './core/image-patch.ts';
import { type ImportRequest, type ImportWay, readImport } from './core/import-request.ts';
import { type JsonBody, readJson } from './core/json-body.ts';
import type { Operation } from './core/operation.ts';
import { MiB } from './core/units.ts';
import type { Client } from './http/client.ts';
import { type Hold, openBody } from './http/client-body.ts';

/** The most that is read of a body to be judged where `max_body` sets no limit. */
const mostJudgedBytes = MiB;

/** Whether the body of such a request is read whole. */
export function isJudged({ action }: Operation): boolean {
  return action === 'import' || action === 'update' || action === 'locations' || action === 'task';
}

/** Whether `judge` may find something to read. */
export function readsBody(operation: Operation): boolean {
  return isJudged(operation) || operation.action === 'delete';
}

/** A request that was let through, and whose body was read whole before. */
export interface Judgement {
  /** What was judged, written anew: it goes upstream in place of what the client sent. Of a delete: what the client sent. */
  readonly body: Buffer;
  /** Of the client's body. */
  readonly receivedBytes: number;
  /** Null for what is no import call. */
  readonly imported: ImportRequest | null;
  /** True for a patch that may change whose image it is. */
  readonly givesAway: boolean;
}

/**
 * Reads and judges the body of a request whose action is `import`, `update`, `locations` or `task`, and reads that of a
 * delete; null for any other, and where a delete has none. What the configuration refuses whatever the body says is
 * refused before a byte of it is asked for.
 * @param hold asked for every piece of the body.
 * @throws GatewayError `import-refused`, `import-invalid`, `body-not-json`, `body-too-large`, and what reading a
 *   body throws, `hold` included.
 */
export async function judge(
  config: Config,
  client: Client,
  { action }: Operation,
  framing: BodyFraming,
  hold: Hold,
): Promise<Judgement | null> {
  switch (action) {
    case 'import': {
      const { json, receivedBytes } = await readBody(config, client, framing, hold);
      const imported = readImport(json.document, joinedHeader(client.headers, 'x-image-meta-store'));
      refuseWay(config, imported.method);
      return { body: Buffer.from(json.text), receivedBytes, imported, givesAway: false };
    }
    case 'update': {
      const { json, receivedBytes } = await readBody(config, client, framing, hold);
      refuseLongPatch(json.document);
      if (touches(json.document, 'locations')) refuseWay(config, 'locations');
      const givesAway = touches(json.document, 'owner');
      return { body: Buffer.from(json.text), receivedBytes, imported: null, givesAway };
    }
    case 'locations':
    case 'task': {
      refuseWay(config, action === 'task' ? 'tasks' : 'locations');
      const { json, receivedBytes } = await readBody(config, client, framing, hold);
      return { body: Buffer.from(json.text), receivedBytes, imported: null, givesAway: false };
    }
    case 'delete': {
      // while a delete is under way uploads wait for it: nobody may draw it out by sending its body slowly
      if (framing.kind === 'none' || (framing.kind === 'length' && framing.bytes === 0)) return null;
      const body = await readWhole(config, client, framing, hold);
      return { body, receivedBytes: body.length, imported: null, givesAway: false };
    }
    default:
      return null;
  }
}

/** Glance takes 5 ms for each change, one after the other in one worker: 15,000 in a MiB held it up for 73 s. */
const mostChanges = 500;

function refuseLongPatch(document: unknown): void {
  if (!Array.isArray(document) || document.length <= mostChanges) return;
  throw new GatewayError(
    'body-too-large',
    `A patch may have ${mostChanges} changes; this one has ${document.length}.`,
    {
      facts: { limit: mostChanges },
    },
  );
}

async function readBody(
  config: Config,
  client: Client,
  framing: BodyFraming,
  hold: Hold,
): Promise<{ json: JsonBody; receivedBytes: number }> {
  const coding = joinedHeader(client.headers, 'content-encoding')?.trim().toLowerCase();
  // whoever decodes it after us would read another body than we did
  if (coding !== undefined && coding !== 'identity') {
    throw new GatewayError('body-not-json', 'The body is encoded; send it plainly.');
  }
  const maxBytes = mostBytes(config);
  const bytes = await readWhole(config, client, framing, hold);
  const json = readJson(bytes);
  // 1e15 grows when it is written anew
  if (Buffer.byteLength(json.text) > maxBytes) {
    throw new GatewayError('body-too-large', `Written plainly, the body has more than ${maxBytes} bytes.`, {
      facts: { limit: maxBytes },
    });
  }
  return { json, receivedBytes: bytes.length };
}

async function readWhole(config: Config, client: Client, framing: BodyFraming, hold: Hold): Promise<Buffer> {
  return (await openBody(client, framing, mostBytes(config), hold)?.whole()) ?? Buffer.alloc(0);
}

const mostBytes = ({ maxBodyBytes }: Config): number => (maxBodyBytes === 0 ? mostJudgedBytes : maxBodyBytes);

function refuseWay({ import: rules, quota }: Config, way: ImportWay): void {
  const rule = rules[way];
  if (rule === 'pass' || (rule === 'unless-limited' && !(quota.mode === 'enforce' && limitsStored(quota))))
    return;
  const why = rule === 'refuse' ? '' : ': its bytes would go round the quota';
  throw new GatewayError('import-refused', `Data by way of ${way} is not taken here${why}.`);
}
