import { headerValue, type RawHeaders } from './headers.ts';

/** Fernet tokens have about 250 characters, signed and federated ones some thousands. No comma: a joined list is no token. */
const tokenPattern = /^[!-+\--~]{1,16384}$/;

/**
 * The token that the API will take for the caller's, as keystonemiddleware reads it: `X-Auth-Token`, and only where
 * that is absent `X-Storage-Token`. Null where there is none, or none that could be one.
 * @throws GatewayError `header-invalid` if the header stands twice: servers join the two.
 */
export function userToken(raw: RawHeaders): string | null {
  const given = headerValue(raw, 'x-auth-token') ?? headerValue(raw, 'x-storage-token');
  return wellFormed(given);
}

/** The token of a service that acts for the caller, or null. Throws as `userToken`. */
export function serviceToken(raw: RawHeaders): string | null {
  return wellFormed(headerValue(raw, 'x-service-token'));
}

function wellFormed(given: string | undefined): string | null {
  const token = given?.trim() ?? '';
  return tokenPattern.test(token) ? token : null;
}
