import { GatewayError } from '../core/errors.ts';

/**
 * The answer that somebody else waits for already, or one's own. Somebody else's bad token is not one's own: if it was
 * refused, the question is asked again with one's own.
 * @param shared undefined where nobody waits for it.
 */
export async function sharedOrOwn<T>(shared: Promise<T> | undefined, own: () => Promise<T>): Promise<T> {
  if (shared === undefined) return await own();
  try {
    return await shared;
  } catch (error) {
    if (!(error instanceof GatewayError) || error.code !== 'credentials-refused') throw error;
    return await own();
  }
}
