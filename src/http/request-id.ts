import { randomUUID } from 'node:crypto';
import { type RawHeaders, requestId } from '../core/headers.ts';

/** The id of a request: the client's own where it may be taken over, else a new one in OpenStack's form. */
export const requestIdOf = (raw: RawHeaders): string => requestId(raw) ?? newRequestId();

/** For an answer to what could not be read. */
export const newRequestId = (): string => `req-${randomUUID()}`;
