import { GatewayError } from './core/errors.ts';
import type { ImageLookup } from './image-lookup.ts';
import type { Upload } from './registry.ts';
import type { Caller } from './usage/usage.ts';

/**
 * Looks at the image of a running upload from time to time, and ends the upload when the image is gone: a delete that
 * went round the gateway is noticed too.
 * @param intervalMs 0 = never look.
 * @returns stops the watch; calling it again is harmless.
 */
export function watchImage(
  upload: Upload,
  lookup: ImageLookup,
  caller: Caller,
  intervalMs: number,
): () => void {
  if (intervalMs === 0 || !lookup.possible) return () => {};
  let stopped = false;
  const look = async (): Promise<void> => {
    const state = await lookup.state(upload.start.image, caller);
    if (stopped) return;
    if (state !== 'gone') {
      timer = setTimeout(look, intervalMs);
      return;
    }
    const detail = `The image ${upload.start.image} is gone.`;
    upload.abort(new GatewayError('image-deleted', detail, { ending: 'image-deleted' }));
  };
  let timer = setTimeout(look, intervalMs);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
