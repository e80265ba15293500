import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { MiB } from '../core/units.ts';
import type { Answer } from './answer.ts';
import { ApiError } from './api-error.ts';
import { type Caller, Image } from './image.ts';
import type { ImageApiOptions } from './image-api.ts';
import type { ImageCatalog } from './image-catalog.ts';
import type { ImageStore } from './image-store.ts';

/** One request to a route. */
export interface Call {
  readonly caller: Caller;
  /** The image id of the path; empty on routes without one. */
  readonly id: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  /** Asks the client for its body (`100 Continue`), for a handler that streams it. */
  readonly openBody: () => Readable;
  /** The body as JSON. @throws ApiError 400, or 413 beyond 1 MiB. */
  readonly json: () => Promise<unknown>;
}

export interface Route {
  readonly method: string;
  /** `{id}` stands for any one segment. */
  readonly path: string;
  readonly handle: (call: Call) => Answer | Promise<Answer>;
}

const defaultPageImages = 25;
const maxPageImages = 1_000;
const patchType = 'application/openstack-images-v2.1-json-patch';
const importMethods = { 'OpenStack-image-import-methods': 'glance-direct' };

/** The routes of API v2 that are served, each with its handler. */
export class ImageRoutes {
  readonly table: readonly Route[] = [
    { method: 'POST', path: '/v2/images', handle: (call) => this.#create(call) },
    { method: 'GET', path: '/v2/images', handle: (call) => this.#list(call) },
    { method: 'GET', path: '/v2/images/{id}', handle: (call) => this.#show(call) },
    { method: 'PATCH', path: '/v2/images/{id}', handle: (call) => this.#patch(call) },
    { method: 'DELETE', path: '/v2/images/{id}', handle: (call) => this.#delete(call) },
    { method: 'PUT', path: '/v2/images/{id}/file', handle: (call) => this.#upload(call) },
    { method: 'GET', path: '/v2/images/{id}/file', handle: (call) => this.#download(call) },
    { method: 'PUT', path: '/v2/images/{id}/stage', handle: (call) => this.#stage(call) },
    { method: 'POST', path: '/v2/images/{id}/import', handle: (call) => this.#import(call) },
    { method: 'GET', path: '/v2/info/usage', handle: (call) => this.#usage(call) },
    { method: 'GET', path: '/v2/info/import', handle: () => ({ status: 200, content: importInformation }) },
    { method: 'GET', path: '/v2/info/stores', handle: noMultiStore },
  ];

  readonly #catalog: ImageCatalog;
  readonly #store: ImageStore;
  readonly #limits: ImageApiOptions['unifiedLimits'] | null;
  #uploadsUnderWay = 0;

  constructor(
    catalog: ImageCatalog,
    store: ImageStore,
    limits: ImageApiOptions['unifiedLimits'] | null = null,
  ) {
    this.#limits = limits;
    this.#catalog = catalog;
    this.#store = store;
  }

  /** Bodies of `file` and `stage` that are being received. */
  get uploadsUnderWay(): number {
    return this.#uploadsUnderWay;
  }

  async #create({ caller, headers, json }: Call): Promise<Answer> {
    const image = new Image(await json(), caller.projectId);
    this.#catalog.add(image);
    const location = `http://${headers.host ?? 'localhost'}/v2/images/${image.id}`;
    return { status: 201, headers: { Location: location, ...importMethods }, content: image };
  }

  /** What unified limits say, in whole MiB of active images; nothing where they are off. */
  #usage({ caller }: Call): Answer {
    if (this.#limits == null) return { status: 200, content: { usage: {} } };
    const own = this.#catalog.listed(caller).filter(({ owner }) => owner === caller.projectId);
    const mebibytes = (...statuses: readonly string[]): number => {
      const images = own.filter(({ status }) => statuses.includes(status));
      return Math.floor(images.reduce((sum, { data }) => sum + (data?.sizeBytes ?? 0), 0) / MiB);
    };
    const uploading = own.filter(({ status }) => status === 'saving').length;
    const usage = {
      image_size_total: { limit: this.#limits.sizeTotalMiB, usage: mebibytes('active') },
      image_stage_total: { limit: -1, usage: mebibytes('uploading', 'importing') },
      image_count_uploading: { limit: this.#limits.countUploading, usage: uploading },
    };
    return { status: 200, content: { usage } };
  }

  #list({ caller, query }: Call): Answer {
    const hidden = query.get('os_hidden') === 'true';
    const images = this.#catalog
      .listed(caller)
      .filter(({ attributes }) => attributes.os_hidden === hidden)
      .filter((image) => matches(image.status, query.get('status')))
      .filter((image) => matches(image.owner, query.get('owner')))
      .filter(({ attributes }) => matches(attributes.name, query.get('name')))
      .filter(({ attributes }) => matches(attributes.visibility, query.get('visibility')));
    const marker = query.get('marker');
    const markerAt = images.findIndex((image) => image.id === marker);
    if (marker !== null && markerAt < 0) throw new ApiError(400, `Invalid marker: ${marker}`);
    const rest = images.slice(markerAt + 1);
    const page = rest.slice(0, pageImages(query.get('limit')));
    const last = page.at(-1);
    return {
      status: 200,
      content: {
        images: page,
        first: link(query, null),
        ...(last !== undefined && page.length < rest.length ? { next: link(query, last.id) } : {}),
        schema: '/v2/schemas/images',
      },
    };
  }

  #show({ caller, id }: Call): Answer {
    return { status: 200, content: this.#catalog.visible(id, caller) };
  }

  async #patch({ caller, id, headers, json }: Call): Promise<Answer> {
    if (mediaType(headers) !== patchType) {
      throw new ApiError(415, 'Unsupported Media Type', { 'Accept-Patch': patchType });
    }
    const document = await json();
    const image = this.#catalog.changeable(id, caller);
    image.patch(document);
    return { status: 200, content: image };
  }

  async #delete({ caller, id }: Call): Promise<Answer> {
    const image = this.#catalog.changeable(id, caller);
    if (image.attributes.protected)
      throw new ApiError(403, `Image ${id} is protected and cannot be deleted.`);
    const { status } = image;
    image.become('deleted');
    // a body that is being received is left to come to its end: Glance does not know of its file yet
    if (status === 'active') await this.#store.remove('images', id);
    if (status === 'uploading' || status === 'importing') await this.#store.remove('staging', id);
    return { status: 204 };
  }

  /** The order of the checks is Glance's (`ImageDataController.upload`). */
  async #upload({ caller, id, headers, openBody }: Call): Promise<Answer> {
    const declaredBytes = declaredSize(headers);
    const image = this.#catalog.changeable(id, caller);
    image.become('saving');
    try {
      this.#catalog.checkQuota(caller, image, declaredBytes);
    } catch (error) {
      image.become('queued');
      throw error;
    }
    const data = await this.#receive('images', image, openBody(), declaredBytes);
    if (image.status !== 'saving') {
      await this.#store.remove('images', id);
      throw new ApiError(
        410,
        `Image ${id} could not be found after upload. The image may have been deleted during the upload, ` +
          'cleaning up the chunks uploaded.',
      );
    }
    try {
      this.#catalog.checkQuota(caller, image, data.sizeBytes);
    } catch (error) {
      // as in Glance, which fails to restore the status here: the image stays `saving` until it is deleted
      await this.#store.remove('images', id);
      throw error;
    }
    image.data = data;
    image.become('active');
    return { status: 204 };
  }

  /** No quota is asked: what is staged counts 0, and only its import is checked. */
  async #stage({ caller, id, headers, openBody }: Call): Promise<Answer> {
    const declaredBytes = declaredSize(headers);
    const image = this.#catalog.changeable(id, caller);
    image.become('uploading');
    const data = await this.#receive('staging', image, openBody(), declaredBytes);
    if (image.status !== 'uploading') {
      await this.#store.remove('staging', id);
      throw new ApiError(404, `No image found with ID ${id}`);
    }
    image.data = data;
    return { status: 204 };
  }

  /** Streams a body to its end whatever becomes of the image; when that fails the image is `queued` again. */
  async #receive(shelf: 'images' | 'staging', image: Image, body: Readable, declaredBytes: number | null) {
    const { status } = image;
    this.#uploadsUnderWay += 1;
    try {
      const data = await this.#store.receive(shelf, image.id, body);
      if (declaredBytes !== null && data.sizeBytes !== declaredBytes && image.status === status) {
        throw new ApiError(400, `Size mismatch: expected ${declaredBytes} bytes, received ${data.sizeBytes}`);
      }
      return data;
    } catch (error) {
      await this.#store.remove(shelf, image.id);
      if (image.status === status) image.become('queued');
      throw error;
    } finally {
      this.#uploadsUnderWay -= 1;
    }
  }

  async #import({ caller, id, json }: Call): Promise<Answer> {
    const method = importMethod(await json());
    if (method !== 'glance-direct') throw new ApiError(400, `Import method '${method}' is not enabled.`);
    const image = this.#catalog.changeable(id, caller);
    if (image.status !== 'uploading' || image.data === null) {
      throw new ApiError(409, `Image is in status ${image.status}: glance-direct needs staged data.`);
    }
    image.become('importing');
    setImmediate(() => void this.#finishImport(caller, image));
    return { status: 202 };
  }

  /** After the 202: a failure is seen only in the status, which stays `importing` with the data in staging. */
  async #finishImport(caller: Caller, image: Image): Promise<void> {
    try {
      this.#catalog.checkQuota(caller, image, image.data?.sizeBytes ?? null);
      await this.#store.takeFromStaging(image.id);
    } catch {
      return;
    }
    if (image.status === 'importing') image.become('active');
    else await this.#store.remove('images', image.id);
  }

  #download({ caller, id, headers }: Call): Answer {
    const image = this.#catalog.visible(id, caller);
    if (image.status !== 'active' || image.data === null) return { status: 204 };
    const { sizeBytes, checksum } = image.data;
    const fixed = { 'Content-Type': 'application/octet-stream', 'Content-Md5': checksum };
    if (headers.range !== undefined) {
      const { first, last } = byteRange(headers.range, sizeBytes);
      return {
        status: 206,
        headers: {
          ...fixed,
          'Content-Length': String(last - first + 1),
          'Content-Range': `bytes ${first}-${last}/${sizeBytes}`,
        },
        content: this.#store.read(id, first, last),
      };
    }
    const whole = { ...fixed, 'Content-Length': String(sizeBytes) };
    if (sizeBytes === 0) return { status: 200, headers: whole };
    return { status: 200, headers: whole, content: this.#store.read(id, 0, sizeBytes - 1) };
  }
}

const importInformation = {
  'import-methods': { description: 'Import methods available.', type: 'array', value: ['glance-direct'] },
};

function noMultiStore(): never {
  throw new ApiError(404, 'Multi backend is not supported at this site.');
}

function mediaType(headers: IncomingMessage['headers']): string | undefined {
  return headers['content-type']?.split(';')[0]?.trim().toLowerCase();
}

/**
 * The size that the body claims to have: `x-openstack-image-size` before Content-Length. Null = not known, and
 * a Content-Length of 0 is no claim either (glance/api/v2/image_data.py reads it as unknown).
 * @throws ApiError 415 for another type than bytes, 400 for a size that is none.
 */
function declaredSize(headers: IncomingMessage['headers']): number | null {
  if (mediaType(headers) !== 'application/octet-stream') {
    throw new ApiError(415, 'The request content type must be application/octet-stream.');
  }
  const declared = headers['x-openstack-image-size'];
  if (declared === undefined) return Number(headers['content-length'] ?? 0) || null;
  if (typeof declared !== 'string' || !/^\d{1,15}$/.test(declared)) {
    throw new ApiError(400, `Invalid value for x-openstack-image-size: ${declared}`);
  }
  return Number(declared);
}

function importMethod(document: unknown): string {
  if (typeof document === 'object' && document !== null && 'method' in document) {
    const { method } = document;
    if (
      typeof method === 'object' &&
      method !== null &&
      'name' in method &&
      typeof method.name === 'string'
    ) {
      return method.name;
    }
  }
  throw new ApiError(400, "Only images with a 'method' that has a 'name' can be imported.");
}

/** RFC 9110 §14.1.2 for one range. @throws ApiError 400 for several, 416 for a bad one or one past the end. */
function byteRange(range: string, sizeBytes: number): { first: number; last: number } {
  if (range.includes(','))
    throw new ApiError(400, 'Requests with multiple ranges are not supported in Glance.');
  const [, from = '', to = ''] = /^bytes=(\d*)-(\d*)$/.exec(range) ?? [];
  const first = from === '' ? Math.max(0, sizeBytes - Number(to)) : Number(from);
  const last = from === '' || to === '' ? sizeBytes - 1 : Math.min(Number(to), sizeBytes - 1);
  if ((from === '' && to === '') || first > last) {
    throw new ApiError(416, `Invalid range ${range}`, { 'Content-Range': `bytes */${sizeBytes}` });
  }
  return { first, last };
}

function matches(value: string | null, wanted: string | null): boolean {
  return wanted === null || value === wanted;
}

function pageImages(limit: string | null): number {
  if (limit === null) return defaultPageImages;
  if (!/^\d{1,9}$/.test(limit)) throw new ApiError(400, 'limit param must be an integer of at least 0');
  return Math.min(Number(limit), maxPageImages);
}

function link(query: URLSearchParams, marker: string | null): string {
  const parameters = new URLSearchParams(query);
  parameters.delete('marker');
  if (marker !== null) parameters.set('marker', marker);
  return parameters.size === 0 ? '/v2/images' : `/v2/images?${parameters}`;
}
