import { ApiError } from './api-error.ts';
import type { Caller, Image } from './image.ts';

/** The table of images: who sees which, and how much of the quota is used. */
export class ImageCatalog {
  /** Deleted images stay, as rows do in Glance until they are purged: their ids cannot be taken again. */
  readonly #images = new Map<string, Image>();
  readonly #quotaBytes: number;

  /** @param quotaBytes `user_storage_quota`: what each project may store. 0 = no limit. */
  constructor(quotaBytes: number) {
    this.#quotaBytes = quotaBytes;
  }

  /** @throws ApiError 409 when the id was ever used. */
  add(image: Image): void {
    if (this.#images.has(image.id)) throw new ApiError(409, `Image ID ${image.id} already exists!`);
    this.#images.set(image.id, image);
  }

  /** @throws ApiError 404 also for an image that the caller may not know of. */
  visible(id: string, caller: Caller): Image {
    const image = this.#images.get(id);
    if (image === undefined || image.status === 'deleted' || !image.isVisibleTo(caller)) {
      throw new ApiError(404, `No image found with ID ${id}`);
    }
    return image;
  }

  /** @throws ApiError 404 as `visible` does, 403 for an image that the caller may only look at. */
  changeable(id: string, caller: Caller): Image {
    const image = this.visible(id, caller);
    if (!image.isChangeableBy(caller))
      throw new ApiError(403, 'You are not authorized to complete this action.');
    return image;
  }

  /** The images that the caller sees, newest first. */
  listed(caller: Caller): Image[] {
    return [...this.#images.values()]
      .filter((image) => image.status !== 'deleted' && image.isVisibleTo(caller))
      .sort((a, b) => b.createdAtMs - a.createdAtMs || (a.id < b.id ? 1 : -1));
  }

  /**
   * Glance's `check_quota`, for an upload to `image` by `caller`. Only active images count: what is in
   * `saving`, `uploading` or `importing` counts 0, and an unknown size (null) is refused only when nothing remains.
   * The caller's project is checked, whoever owns the image.
   * @throws ApiError 413
   */
  checkQuota(caller: Caller, image: Image, sizeBytes: number | null): void {
    if (this.#quotaBytes === 0) return;
    const used = [...this.#images.values()]
      .filter((other) => other !== image && other.owner === caller.projectId && other.status === 'active')
      .reduce((sum, other) => sum + (other.data?.sizeBytes ?? 0), 0);
    const remaining = this.#quotaBytes - used;
    if (remaining > 0 && (sizeBytes === null || sizeBytes <= remaining)) return;
    throw new ApiError(
      413,
      `Image exceeds the storage quota: The size of the data ${sizeBytes ?? 'None'} will exceed the limit. ` +
        `${remaining} bytes remaining.`,
    );
  }
}
