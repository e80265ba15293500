import { GatewayError } from './core/errors.ts';
import type { ImageLookup } from './image-lookup.ts';
import type { Upload } from './registry.ts';
import type { Caller } from './usage/usage.ts';

/**
 * Looks at the image of a running upload from time to time, and whenever `upload.look` is called, and ends the upload
 * when the image is gone: a delete that went round the gateway is noticed too.
 * @param caller the uploader's: to somebody else the image may be hidden, which is not to be gone.
 * @param intervalMs 0 = only when called.
 * @returns stops the watch; calling it again is harmless.
 */
export function watchImage(
  upload: Upload,
  lookup: ImageLookup,
  caller: Caller,
  intervalMs: number,
): () => void {
  if (!lookup.possible) return () => {};
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  const look = async (): Promise<void> => {
    clearTimeout(timer);
    const state = await lookup.state(upload.start.image, caller);
    if (stopped) return;
    if (state !== 'gone') return again();
    const detail = `The image ${upload.start.image} is gone.`;
    upload.abort(new GatewayError('image-deleted', detail, { ending: 'image-deleted' }));
  };
  const again = (): void => {
    clearTimeout(timer);
    if (intervalMs > 0) timer = setTimeout(look, intervalMs);
  };
  upload.look = look;
  again();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
