import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { ApiError } from './api-error.ts';
import { type ImageStatus, mayBecome } from './image-status.ts';

/** Who asks. The `headers` flavor of Glance believes these headers, as a test bed may. */
export interface Caller {
  readonly userId: string;
  readonly projectId: string;
  readonly isAdmin: boolean;
}

/** What can be changed by PATCH, and be stated at creation. */
const attributes = {
  name: z.string().max(255).nullable(),
  disk_format: z.string().max(255).nullable(),
  container_format: z.string().max(255).nullable(),
  visibility: z.enum(['private', 'shared', 'community', 'public']),
  protected: z.boolean(),
  os_hidden: z.boolean(),
};

const property = z.string().max(65_535);

/** The pattern of Glance's schema: either case is an id of its own, and is kept as it was given. */
const imageId = z.string().regex(/^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$/);

const imageRequest = z
  .object({
    ...attributes,
    visibility: attributes.visibility.default('shared'),
    id: imageId,
    min_disk: z.int().min(0).default(0),
    min_ram: z.int().min(0).default(0),
    tags: z.array(z.string().max(255)).max(128).default([]),
  })
  .partial({
    id: true,
    name: true,
    disk_format: true,
    container_format: true,
    protected: true,
    os_hidden: true,
  })
  .catchall(property);

const patchDocument = z.array(
  z.object({
    op: z.enum(['add', 'replace', 'remove']),
    path: z.string().startsWith('/'),
    value: z.unknown(),
  }),
);

const readOnly = new Set(
  'id owner status size virtual_size checksum os_hash_algo os_hash_value created_at updated_at self file schema stores direct_url location locations deleted deleted_at'.split(
    ' ',
  ),
);

type Attributes = z.infer<z.ZodObject<typeof attributes>>;

/** What was stored of an image: bytes and their md5 in hex. */
export interface ImageData {
  readonly sizeBytes: number;
  readonly checksum: string;
}

export class Image {
  readonly id: string;
  /** The project that made it, and whose quota it counts against. */
  readonly owner: string;
  readonly createdAtMs: number;
  status: ImageStatus = 'queued';
  /** Null until all data is in: an image in `saving` shows no size. */
  data: ImageData | null = null;
  readonly #attributes: Attributes;
  readonly #minDisk: number;
  readonly #minRam: number;
  readonly #tags: readonly string[];
  readonly #properties: Map<string, string>;
  #updatedAtMs: number;

  /** @param document the JSON body of POST /v2/images. @throws ApiError 400, or 403 for a read-only member. */
  constructor(document: unknown, owner: string) {
    const parsed = imageRequest.safeParse(document);
    const asked = Object.keys(typeof document === 'object' && document !== null ? document : {});
    refuseReadOnly(asked.filter((key) => key !== 'id'));
    if (!parsed.success) throw new ApiError(400, invalid('image', parsed.error));
    const { id, min_disk, min_ram, tags, ...rest } = parsed.data;
    const {
      name,
      disk_format,
      container_format,
      visibility,
      protected: isProtected,
      os_hidden,
      ...properties
    } = rest;
    this.id = id ?? randomUUID();
    this.owner = owner;
    this.createdAtMs = this.#updatedAtMs = Date.now();
    this.#attributes = {
      name: name ?? null,
      disk_format: disk_format ?? null,
      container_format: container_format ?? null,
      visibility,
      protected: isProtected ?? false,
      os_hidden: os_hidden ?? false,
    };
    this.#minDisk = min_disk;
    this.#minRam = min_ram;
    this.#tags = tags;
    this.#properties = new Map(Object.entries(properties));
  }

  get attributes(): Readonly<Attributes> {
    return this.#attributes;
  }

  /** @throws ApiError 409 where Glance's table of transitions has no such way. */
  become(status: ImageStatus): void {
    if (!mayBecome(this.status, status)) {
      throw new ApiError(409, `Image status transition from ${this.status} to ${status} is not allowed`);
    }
    this.status = status;
    this.#updatedAtMs = Date.now();
  }

  /** @param document a JSON patch of Glance's v2.1 media type. @throws ApiError 400, or 403 for a read-only member. */
  patch(document: unknown): void {
    const parsed = patchDocument.safeParse(document);
    if (!parsed.success) throw new ApiError(400, invalid('patch', parsed.error));
    const changes = parsed.data.map(({ op, path, value }) => ({ op, key: path.slice(1), value }));
    refuseReadOnly(changes.map(({ key }) => key));
    const applied = changes.map(({ op, key, value }) => this.#change(op, key, value));
    for (const apply of applied) apply();
    this.#updatedAtMs = Date.now();
  }

  /** Checks one change and returns what makes it, so that a patch is made whole or not at all. */
  #change(op: 'add' | 'replace' | 'remove', key: string, value: unknown): () => void {
    if (op === 'remove') return () => this.#properties.delete(key);
    if (key in attributes) {
      const parsed = z
        .object(attributes)
        .partial()
        .safeParse({ [key]: value });
      if (!parsed.success) throw new ApiError(400, invalid(key, parsed.error));
      return () => Object.assign(this.#attributes, parsed.data);
    }
    const parsed = property.safeParse(value);
    if (!parsed.success) throw new ApiError(400, invalid(key, parsed.error));
    return () => this.#properties.set(key, parsed.data);
  }

  isVisibleTo(caller: Caller): boolean {
    return this.isChangeableBy(caller) || this.#attributes.visibility === 'public';
  }

  isChangeableBy(caller: Caller): boolean {
    return caller.isAdmin || caller.projectId === this.owner;
  }

  /** The image record of API v2. */
  toJSON(): Record<string, unknown> {
    return {
      ...Object.fromEntries(this.#properties),
      ...this.#attributes,
      id: this.id,
      status: this.status,
      owner: this.owner,
      size: this.data?.sizeBytes ?? null,
      virtual_size: null,
      checksum: this.data?.checksum ?? null,
      os_hash_algo: null,
      os_hash_value: null,
      min_disk: this.#minDisk,
      min_ram: this.#minRam,
      tags: this.#tags,
      created_at: timestamp(this.createdAtMs),
      updated_at: timestamp(this.#updatedAtMs),
      self: `/v2/images/${this.id}`,
      file: `/v2/images/${this.id}/file`,
      schema: '/v2/schemas/image',
    };
  }
}

function refuseReadOnly(keys: readonly string[]): void {
  const key = keys.find((name) => readOnly.has(name) || name.startsWith('os_glance_'));
  if (key !== undefined) throw new ApiError(403, `Attribute '${key}' is read-only.`);
}

function invalid(what: string, error: z.ZodError): string {
  const [first] = error.issues;
  return `Provided object does not match schema '${what}': ${first?.path.join('.') ?? ''}: ${first?.message ?? ''}`;
}

function timestamp(timeMs: number): string {
  return `${new Date(timeMs).toISOString().slice(0, 19)}Z`;
}
