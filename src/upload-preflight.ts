import type { Config } from './config/config.ts';
import { GatewayError } from './core/errors.ts';
import type { Profile } from './core/profile.ts';
import { questionHeaders } from './core/question-headers.ts';
import type { Fetched } from './http/ask.ts';
import type { Identified } from './identity/identity.ts';
import { tokenRestricted } from './payer.ts';
import type { Upstreams } from './upstreams.ts';
import type { Caller } from './usage/usage.ts';

export interface Preflight {
  readonly config: Config;
  readonly upstreams: Upstreams;
  readonly image: string;
  readonly who: Identified;
  readonly caller: Caller;
  /** The API has just shown the image to the caller, as the profile's `status` asks for it. */
  readonly imageSeen: boolean;
  /** Ends the question. */
  readonly signal: AbortSignal;
}

/**
 * Asks the API by the request of its profile, where that is configured, whether it would take the body of an upload.
 * @returns its refusal; null where it would, or need not be asked.
 * @throws GatewayError with an ending: `upstream-unreachable`, `-connect-timeout`, `-timeout`, `-lost`, `-invalid`,
 *   `token-restricted`; or the signal's reason.
 */
export async function preflightUpload({
  config,
  upstreams,
  image,
  who,
  caller,
  imageSeen,
  signal,
}: Preflight): Promise<Fetched | null> {
  const { api, upload } = config;
  if (upload.preflight !== 'request' || api.preflight === null) return null;
  if (imageSeen && isImageLookup(api)) return null;
  const { method, path, success } = api.preflight;
  const target = path.replace('{image}', () => image);
  const headers = questionHeaders(caller.headers, api.sizeHeader);
  const answer = await upstreams
    .fetch(method, target, headers, upload.preflightTimeoutMs, signal)
    .catch((error: unknown) => {
      signal.throwIfAborted();
      throw error instanceof GatewayError ? asEnding(error) : error;
    });
  const { status } = answer;
  if (success.includes(status)) return null;
  if (who.restricted && (status === 401 || status === 403)) throw tokenRestricted();
  // as the answer to an upload it would say that the body is stored, or lies elsewhere
  if (status < 400) {
    const detail = `The API answered ${status} when asked whether it would take the body.`;
    throw new GatewayError('upstream-invalid', detail, { ending: 'upstream-lost' });
  }
  return answer;
}

/** Whether the request is the question by which an image is looked up, whose answer is known where one was. */
const isImageLookup = ({ preflight: request, status }: Profile): boolean =>
  request?.method === 'GET' && request.path === status?.path && request.success.includes(200);

function asEnding(error: GatewayError): GatewayError {
  const ending = error.code === 'upstream-timeout' ? 'upstream-stalled' : 'upstream-lost';
  return new GatewayError(error.code, error.message, { ending, cause: error.cause });
}
